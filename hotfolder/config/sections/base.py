"""What every section has, and a number that several have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Section(BaseModel):
    """A table of hotfolder.toml. Fields with `repr=False` may hold passwords: their values are never shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
