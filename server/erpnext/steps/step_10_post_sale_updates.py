"""step_10: the final check, a read-only look at everything that the earlier steps should have made.

Steps 0 and 1 are left out: step 0 has just passed, and what step 1 makes is not the tenant's. What
is wrong is named here, never fixed. Optional steps that did not succeed are only mentioned in the
notes, because they have already failed under their own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.seeing import conflict
from server.errors import EngineError
from server.model.blueprint import ERPNEXT
from server.model.states import ErrorClass
from server.model.step_context import Found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.model.step_context import Step, StepContext

_SUMMARY = (
    "company",
    "abbreviation",
    "selling_warehouse",
    "price_list",
    "customer",
    "pos_profile",
    "opening_entry",
)


class FinalCheck:
    """Repeats every step's probe."""

    key = "step_10_post_sale_updates"

    def __init__(self, *, checked: tuple[Step, ...]) -> None:
        """Take the steps whose probes are repeated."""
        self._checked = checked

    async def probe(self, context: StepContext) -> Found:
        """Repeat the probes; a difference in a required step is raised as an error.

        Returns:
            As outputs, the names that people need to find the shop in ERPNext.

        Raises:
            EngineError: FINAL_CHECK_FAILED, with all that required steps disagree with; or what a
                step raises, if that is about the engine or has a hold.
        """
        wrong: list[tuple[str, str]] = []
        notes: list[str] = []
        outputs: dict[str, str] = {}
        wanted = {step.key: step for step in ERPNEXT.steps_for(context.spec)}
        for step in self._checked:
            if step.key not in wanted:
                continue
            found, problem, told = await _look(step, context)
            if problem and wanted[step.key].required:
                wrong.append((f"{step.key}: {problem}", f"{step.key}: {told}"))
            elif problem:
                notes.append(f"{step.key}: {told}")
            outputs.update(found.outputs if found else {})
        if wrong:
            raise conflict(
                Code.FINAL_CHECK_FAILED,
                _disagrees(problem for problem, _ in wrong),
                public=_disagrees(told for _, told in wrong),
            )
        return Found(
            done=True,
            outputs={name: outputs[name] for name in _SUMMARY if name in outputs},
            notes=tuple(notes),
        )

    async def apply(self, context: StepContext, found: Found) -> None:
        """Do nothing: this step makes nothing."""


def _disagrees(problems: Iterable[str]) -> str:
    return f"The final check disagrees. {' '.join(problems)} Retry the named steps."


async def _look(step: Step, context: StepContext) -> tuple[Found | None, str, str]:
    """Return what a step's probe found, what is wrong, and the part of that everybody may read."""
    try:
        found = await step.probe(context)
    except EngineError as error:
        if error.error_class is not ErrorClass.PERMANENT or error.hold:
            raise  # the engine's trouble says nothing about the tenant; a hold is for a person
        return None, f"{error.code}: {error.message}", f"{error.code}: {error.told}"
    missing = ", ".join(str(each) for each in found.missing)
    problem = "" if found.done else f"missing: {missing}."
    return found, problem, problem
