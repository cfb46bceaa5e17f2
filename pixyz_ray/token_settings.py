"""A token of PIXYZ_TOKENS, with what its submitter may have."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pixyz_worker.nearest import SIMILAR, nearest


class Token(BaseModel):
    """Somebody who may send jobs, beside the operator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$", description="SHA-256 (hex) of the token.")
    share: float = Field(1.0, gt=0, description="Weight among submitters when there is not room for all.")
    concurrency: int | None = Field(None, ge=1, description="Most of its jobs that run at a time.")
    max_queued: int | None = Field(None, ge=1, description="Most of its jobs that may wait.")

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, given: Any) -> Any:
        for name in sorted(set(given) - set(cls.model_fields)) if isinstance(given, dict) else ():
            meant = nearest(str(name), cls.model_fields, cutoff=SIMILAR)
            hint = f"did you mean {meant}?" if meant else f"use {', '.join(cls.model_fields)}"
            raise ValueError(f"has no setting {name}; {hint}")
        return given
