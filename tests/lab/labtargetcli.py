# SPDX-License-Identifier: LGPL-2.1-or-later
"""targetcli, as an admin who has no vhscsid uses it."""
import re
import subprocess

from labkit import run


def targetcli(*commands: str) -> None:
    """As an admin types them, in one session."""
    script = "\n".join(("set global auto_save_on_exit=false auto_cd_after_create=false", *commands, "exit", ""))
    out = subprocess.run(["targetcli"], input=script, capture_output=True, text=True, timeout=300)
    # It goes on after an error, and ends well.
    if out.returncode or re.search(r"Traceback|[Ee]rror|No such|not found|[Cc]annot|[Ii]nvalid", out.stderr + out.stdout):
        raise AssertionError(f"targetcli: {out.stdout}\n{out.stderr}")


def clear() -> None:
    run(["targetctl", "clear"], timeout=120)
