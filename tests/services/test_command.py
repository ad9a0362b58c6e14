"""Training commands run without a shell, with a deadline, and nothing of ours in their environment."""

import asyncio
import time
from pathlib import Path

import pytest

from consumers.services.command import CommandFailed, fill, run_command

PYTHON = "{python}"


def script(folder: Path, text: str) -> list[str]:
    (folder / "script.py").write_text(text)
    return [PYTHON, "{job_dir}/script.py"]


async def test_placeholders_are_filled_and_other_braces_are_left_alone(tmp_path: Path) -> None:
    filled = fill(["{python}", "{job_dir}/x", "{a: 1}", "$HOME; ls"], tmp_path)
    assert filled[1:] == [f"{tmp_path}/x", "{a: 1}", "$HOME; ls"]
    await run_command(
        [PYTHON, "-c", "import sys; assert sys.argv[1] == '$HOME; ls'", "$HOME; ls"], tmp_path, timeout_s=20
    )


async def test_a_command_runs_in_the_job_folder_with_a_small_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_STORE_URL", "postgresql://user:secret@host/db")
    text = "import os, pathlib\npathlib.Path('seen').write_text(' '.join(sorted(os.environ)))\n"
    await run_command(script(tmp_path, text), tmp_path, timeout_s=20)
    seen = (tmp_path / "seen").read_text().split()
    assert "PATH" in seen
    assert "LIFECYCLE_STORE_URL" not in seen


async def test_a_bad_exit_code_is_told_with_the_end_of_the_complaints(tmp_path: Path) -> None:
    text = "import sys\nsys.stderr.write('x' * 100_000 + 'the last words')\nsys.exit(3)\n"
    with pytest.raises(CommandFailed, match="exit code 3") as caught:
        await run_command(script(tmp_path, text), tmp_path, timeout_s=20)
    assert caught.value.tail.endswith("the last words")
    assert len(caught.value.tail) <= 4_000


async def test_a_command_that_does_not_exist_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot start"):
        await run_command(["/no/such/program"], tmp_path, timeout_s=20)


async def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    text = (
        "import pathlib, subprocess, sys, time\n"
        "child = 'import pathlib, time; time.sleep(1.5); pathlib.Path(\"late\").touch()'\n"
        "subprocess.Popen([sys.executable, '-c', child])\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(CommandFailed, match=r"longer than 0\.7 s"):
        await run_command(script(tmp_path, text), tmp_path, timeout_s=0.7)
    await asyncio.sleep(1.5)
    assert not (tmp_path / "late").exists()


async def test_cancelling_stops_the_command(tmp_path: Path) -> None:
    running = asyncio.create_task(
        run_command(script(tmp_path, "import time; time.sleep(60)"), tmp_path, timeout_s=90)
    )
    await asyncio.sleep(0.2)
    began = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 5
