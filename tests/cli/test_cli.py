"""The command as a process."""

import subprocess
import sys


def test_the_exit_code_reaches_the_shell():
    done = subprocess.run([sys.executable, "-m", "collegium.cli", "stduy"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no command 'stduy'; did you mean 'study'?")
