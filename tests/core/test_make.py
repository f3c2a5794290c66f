"""The generator: what it writes imports, type-checks and runs, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from tests.commands import Program

from qdeck.cli.make import file_name
from qdeck.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ProcessPayment", "process_payment.py"),
        ("Report", "report.py"),
        ("HTTPPing", "http_ping.py"),
        ("Send2Fax", "send2_fax.py"),
        ("Send_Fax", "send_fax.py"),
    ],
)
def test_a_class_name_becomes_a_file_name(name: str, file: str) -> None:
    assert file_name(name) == file


@pytest.mark.parametrize(
    "name", ["", "2Fast", "process payment", "Process-Payment", "a/b", "../X", "class", "None",
             "match", "processPayment", "Zahlung€", "Class", "Json", "Import",
             "Qdeck", "QDECK", "QdeckTui", "Qdeck_Tui"],
)  # fmt: skip
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="job name"):
        file_name(name)


def test_what_it_writes_imports_type_checks_and_runs(qdeck: Program) -> None:
    done = qdeck.run("make", "job", "ProcessPayment", "--path", "jobs")
    assert (
        done.stdout == "wrote jobs/process_payment.py; register it: deck.register(ProcessPayment)\n"
    )
    (qdeck.folder / "shop.py").write_text(
        "import os\n\nimport qdeck\nfrom jobs.process_payment import ProcessPayment\n\n"
        "deck = qdeck.Deck(os.environ['REDIS_URL'], prefix=os.environ['QUEUE_PREFIX'])\n"
        "deck.register(ProcessPayment)\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "shop.py"]
    checked = subprocess.run(
        [*mypy, "jobs/process_payment.py"], cwd=qdeck.folder, capture_output=True, text=True,
        env={**qdeck.environ, "MYPYPATH": str(Path(__file__).parents[2] / "core")}, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    job = qdeck.json("enqueue", "ProcessPayment", "item_id=7", "--app", "shop.py")
    qdeck.run("worker", "shop.py", "--burst")
    found = qdeck.json("job", job["id"])
    assert (found["state"], found["attempt"], found["progress"]) == ("completed", 1, 50.0)
    assert "item 7" in qdeck.run("logs", job["id"]).stdout


def test_it_overwrites_nothing(qdeck: Program) -> None:
    qdeck.run("make:job", "ProcessPayment", "--path", "jobs", "--yes")
    file = qdeck.folder / "jobs" / "process_payment.py"
    file.write_text("mine")
    assert "exists already" in qdeck.fails("make:job", "ProcessPayment", "--path", "jobs", "--yes")
    assert file.read_text() == "mine"
    (qdeck.folder / "jobs" / "other_job.py").symlink_to("nowhere")
    assert "exists already" in qdeck.fails("make:job", "OtherJob", "--dir", "jobs")
    assert "not a folder" in qdeck.fails("make", "job", "Third", "--path", "app.py")


def test_a_dry_run_writes_nothing_and_a_folder_that_is_there_is_taken(qdeck: Program) -> None:
    shown = qdeck.run("make", "job", "SendFax", "--dry-run").stdout
    assert shown == "would write jobs/send_fax.py\n"
    assert not (qdeck.folder / "jobs").exists()
    assert "--path" in qdeck.fails("make", "job", "SendFax", code=2)
    (qdeck.folder / "tasks").mkdir()
    qdeck.run("make", "job", "SendFax", "--queue", "fax")
    assert 'queue="fax"' in (qdeck.folder / "tasks" / "send_fax.py").read_text()
    assert "no class name" in qdeck.fails("make", "job", "a b")
    assert "queue name" in qdeck.fails("make", "job", "Other", "--queue", "a b")


def test_on_a_terminal_it_asks_for_the_folder(qdeck: Program) -> None:
    program, *words = qdeck.command("make", "job", "SendFax")
    child = pexpect.spawn(program, words, cwd=str(qdeck.folder), env=qdeck.environ, timeout=60)
    child.expect_exact("Folder of the app's jobs [jobs]:")
    child.sendline("mine")
    child.expect_exact("wrote mine/send_fax.py")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert (qdeck.folder / "mine" / "send_fax.py").is_file()
