"""How every message of this folder is written."""

from __future__ import annotations

import re

from tests.wrong_inputs.test_choices_and_policies import CHOICES, POLICIES
from tests.wrong_inputs.test_engine import BEYOND_THE_HOST
from tests.wrong_inputs.test_packing import BY_THE_INDEX, PACKING
from tests.wrong_inputs.test_recipe_texts import RECIPES
from tests.wrong_inputs.test_records_and_state_folder import RECORDS
from tests.wrong_inputs.test_settings_and_command_line import LINES, SETTINGS

ALL = (RECIPES, POLICIES, CHOICES, SETTINGS, LINES, RECORDS, PACKING, BEYOND_THE_HOST, BY_THE_INDEX)


def test_every_message_is_one_sentence_and_one_hint() -> None:
    """In the style of the house: what, without a full stop; then what to do, from a capital letter to a full stop."""
    for name, wrong in (entry for table in ALL for entry in table.items()):
        assert not wrong.told.endswith((".", "!", "?")), name
        assert "\n" not in wrong.told + wrong.hint, name
        assert re.match(r"[A-Z`]|--", wrong.hint), name
        assert wrong.hint.endswith((".", "?")), name
