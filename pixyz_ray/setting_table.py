"""The table of the settings, for the documents: `python -m pixyz_ray.setting_table`."""

from __future__ import annotations

from pixyz_ray.setting_types import in_words
from pixyz_ray.settings import Settings

_DEFAULTS_IN_WORDS = {
    "share_path": "`$PIXYZ_HOME/share`",
    "share_umask": "the umask of whoever starts the platform",
    "process_path": "the processes that come with it",
    "pixyz_python_path": "`/opt/pixyz` where that exists",
    "job_store_url": "`sqlite:///$PIXYZ_HOME/jobs.db`",
    "queues": "`{}`",
    "pools": "`{}`",
    "tokens": "`{}`",
    "queue_name": "none",
    "god_password_sha256": "none",
    "license_host": "none",
    "license_port": "none",
    "concurrent_tasks": "all CPUs",
    "cors_origins": "none",
    "allowed_hosts": "none",
    "trusted_proxies": "none",
    "pixyz_max_time_limit": "none",
    "gpu_expected": "as Ray's autoscaler says",
}


def settings_table() -> str:
    """Return the settings as a Markdown table, in the order of the code."""
    rows = ["| name | default | what |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = _DEFAULTS_IN_WORDS.get(name) or f"`{in_words(info.default, info) or info.default}`"
        rows.append(f"| `{info.alias or name.upper()}` | {default} | {info.description} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(settings_table())
