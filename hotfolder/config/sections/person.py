"""[gallery] and [taste]: how a person looks at results, and what is learnt of the verdicts."""

from __future__ import annotations

from pydantic import Field

from hotfolder.config.sections.base import Section


class GallerySettings(Section):
    """The page in a browser: hotfolder gallery."""

    host: str = Field(
        "127.0.0.1", min_length=1, description="Where it listens; beyond this machine only with --token-file."
    )
    port: int = Field(8642, ge=0, le=65_535, description="On which port; 0: a free one.")
    names: tuple[str, ...] = Field(
        (),
        description="Names that browsers know it by beside host: this machine's in the network, or a reverse proxy's, "
        "such as pictures.example.net.",
    )
    thumbnails_mb: int = Field(
        2048, ge=64, description="Small pictures are kept up to so many MiB; the oldest go first."
    )
    upload_mb: int = Field(
        512, ge=1, le=65_536, description="A file that is dropped on the page has at most so many MiB."
    )
    metrics: bool = Field(False, description="Whether it answers /metrics (Prometheus) and /healthz.")


class TasteSettings(Section):
    """What is learnt from your verdicts: hotfolder taste."""

    train_after: int = Field(
        10,
        ge=0,
        le=1000,
        description="So many new verdicts and looks of an inbox, and the daemon learns anew; 0: only when asked. The "
        "gate looks at nothing of it before you say so: hotfolder taste use.",
    )
    heads: int = Field(20, ge=2, le=1000, description="Older heads of an inbox that are kept; those in use stay.")
