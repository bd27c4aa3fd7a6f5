"""The parts of a daemon, each of which knows those that it asks, and none that asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.daemon.commands import Commands
from hotfolder.daemon.companions import Companions
from hotfolder.daemon.completion import Completion
from hotfolder.daemon.dispatcher import Dispatcher
from hotfolder.daemon.drawings import Drawings
from hotfolder.daemon.enlarging import Enlarging
from hotfolder.daemon.given_stars import GivenStars
from hotfolder.daemon.intake import Intake
from hotfolder.daemon.outbox import Outbox
from hotfolder.daemon.pauses import Pauses
from hotfolder.daemon.ratings import Ratings
from hotfolder.daemon.restoring import Restoring
from hotfolder.daemon.results import Results
from hotfolder.daemon.sources import Sources
from hotfolder.daemon.tasting import Tasting
from hotfolder.daemon.undoing import Undoing
from hotfolder.daemon.verdicts import Verdicts
from hotfolder.executors.base import Executor
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.ledger.connection import files as database_files
from hotfolder.ledger.ledger import Ledger
from hotfolder.routing.router import Router


@dataclass(frozen=True, slots=True)
class Parts:
    """Those that the loop calls. Made once the lock is held and the ledger is open."""

    guard: Guard
    sources: Sources
    pauses: Pauses
    intake: Intake
    dispatcher: Dispatcher
    drawings: Drawings
    outbox: Outbox
    completion: Completion
    results: Results
    commands: Commands
    ratings: Ratings
    given_stars: GivenStars
    tasting: Tasting

    @classmethod
    def made(
        cls,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        executor: Executor,
        clock: Callable[[], float],
    ) -> Parts:
        router = Router(settings.policy)
        guard = Guard(layout, [layout.lock, *database_files(layout.database)])
        sources, companions = Sources(layout, ledger), Companions(layout, ledger)
        pauses = Pauses(layout.hold, settings, clock)
        drawings = Drawings(settings)
        dispatcher = Dispatcher(layout, settings, ledger, executor, guard, sources, drawings)
        outbox = Outbox(layout, settings, ledger, guard, sources, companions, clock)
        results = Results(layout, settings, ledger, outbox, sources)
        completion = Completion(layout, settings, ledger, router, guard, sources, outbox, results, clock)
        enlarging = Enlarging(layout, settings, ledger, router, clock)
        verdicts = Verdicts(layout, settings, ledger, outbox, results, clock)
        restoring = Restoring(layout, ledger, outbox, results, clock)
        tasting = Tasting(layout, settings, ledger, clock)
        ratings = Ratings(layout, ledger)
        given_stars = GivenStars(layout, settings, ledger, results, verdicts, ratings, clock)
        undoing = Undoing(ledger, router, outbox, verdicts, given_stars, restoring, clock)
        return cls(
            guard=guard,
            sources=sources,
            pauses=pauses,
            intake=Intake(layout, settings, ledger, router, guard, sources, companions),
            dispatcher=dispatcher,
            drawings=drawings,
            outbox=outbox,
            completion=completion,
            results=results,
            commands=Commands(
                layout,
                ledger,
                completion,
                dispatcher,
                pauses,
                enlarging,
                verdicts,
                given_stars,
                restoring,
                undoing,
                tasting,
                clock,
            ),
            ratings=ratings,
            given_stars=given_stars,
            tasting=tasting,
        )
