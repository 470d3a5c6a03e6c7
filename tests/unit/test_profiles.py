"""Model profiles: the lookup, the data, and the script that writes the data."""

import importlib.util
import json
import runpy
from collections import Counter
from pathlib import Path
from typing import get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import ModelProfile

from langchain_promptrun import _profiles
from langchain_promptrun._profiles import family_of, profile_for
from langchain_promptrun._spend.costs import prices_of
from langchain_promptrun.data._profiles import PROFILES

ROOT = Path(__file__).parents[2]
HAIKU = "anthropic/claude-3.5-haiku"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("update_profiles", ROOT / "scripts" / "update_profiles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def facts(**changes):
    """The facts on one model, in the shape of models.dev."""
    return {
        "name": "Small One",
        "release_date": "2026-01-02",
        "attachment": True,
        "reasoning": False,
        "tool_call": True,
        "temperature": True,
        "open_weights": False,
        "limit": {"context": 1000, "output": 100},
        "modalities": {"input": ["text", "image"], "output": ["text"]},
        "cost": {"input": 1, "output": 2},
    } | changes


@pytest.fixture
def rows(script, tmp_path):
    """Run the script on models, or a whole document, and more files; give the rows of the module that it wrote."""

    def rows(models, *files, name="PROFILES"):
        document = models if models.keys() & {"models", "openrouter"} else {"models": models}
        (tmp_path / "facts.json").write_text(json.dumps(document), encoding="utf-8")
        assert script.main([str(tmp_path / "facts.json"), *files, "--output", str(tmp_path / "_profiles.py")]) == 0
        return runpy.run_path(str(tmp_path / f"_{name.lower()}.py"))[name]

    return rows


EFFORTS = {"reasoning_effort_levels": ["low", "medium", "high", "xhigh", "max"], "reasoning_effort_default": "high"}
TRUE_OF_SONNET = (
    *("image_url_inputs", "pdf_inputs", "image_tool_message", "pdf_tool_message", "tool_call_streaming"),
    "mid_conversation_system_messages",
)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (HAIKU, {"name": "Claude Haiku 3.5", "max_input_tokens": 200_000, "max_output_tokens": 8192}),
        (HAIKU, dict.fromkeys(("text_inputs", "image_inputs", "pdf_inputs", "tool_calling", "temperature"), True)),
        (HAIKU, dict.fromkeys(("audio_inputs", "image_outputs", "reasoning_output"), False)),
        ("openai/gpt-4o", {"structured_output": True, "tool_choice": True, "max_output_tokens": 16_384}),
        ("ai21/jamba-large-1.7", {"structured_output": False}),
        ("openai/gpt-5", {"max_input_tokens": 272_000}),  # input has a limit of its own
        *((f"{vendor}-4o-2024-05-13", {"max_output_tokens": 4096}) for vendor in ("openai/gpt", "OpenAI/GPT")),
        ("anthropic/claude-3-sonnet", {"name": "Claude Sonnet 3"}),  # known by its dated id alone
        ("anthropic/claude-sonnet-5", dict.fromkeys(TRUE_OF_SONNET, True) | EFFORTS),
        ("anthropic/claude-sonnet-5.5", {"tool_choice": False}),
        *((variant, {"status": "retired"}) for variant in (HAIKU, f"{HAIKU}-20241022")),
        ("anthropic/claude-sonnet-4-20250514", {"status": "retired"}),
    ],
)
def test_a_known_model_has_its_limits_modalities_abilities_and_retirement(model, known):
    assert known.items() <= profile_for(model).items()


def test_an_unknown_fact_has_no_key_and_the_least_decorated_variant_stands_for_the_base():
    assert "structured_output" not in profile_for(HAIKU)
    assert "status" not in profile_for("anthropic/claude-sonnet-5")
    assert profile_for("minimax/minimax-m2.5") != profile_for("minimax/minimax-m2.5:free")


UNKNOWN = ("", ":free", "-latest", "openai/gpt-99", "gpt-99", "openai/", "meta-llama/gpt-4o", "meta.gpt-4o", "4", "a.b")


@pytest.mark.parametrize("model", UNKNOWN)
def test_an_unknown_id_has_no_profile(model):
    assert profile_for(model) is None


@settings(max_examples=50)
@given(st.text() | st.sampled_from(sorted(PROFILES)).flatmap(lambda m: st.text().map(lambda t: m + t)))
def test_no_text_makes_the_lookup_fail(model):
    profile = profile_for(model)
    assert profile is None or profile["max_input_tokens"] > 0


def test_a_profile_may_be_edited():
    profile_for(f"{HAIKU}:nitro").clear()
    assert profile_for(f"{HAIKU}:nitro") == profile_for(HAIKU)


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        *((f"{HAIKU}{suffix}", HAIKU) for suffix in ("-20241022", "-2024-10-22", ":free", ":thinking", "-latest")),
        *((f"{HAIKU}{suffix}", HAIKU) for suffix in ("-20241022:thinking", "@20241022", "@europe-west1")),
        *((variant, HAIKU) for variant in (f"~{HAIKU}", HAIKU.title(), f" {HAIKU} ", HAIKU.replace(".", "-"))),
        ("x-ai/grok-4-0709", "x-ai/grok-4"),
        ("cohere/command-a-11-2025", "cohere/command-a"),
        ("google/gemini-2.5-pro-preview-06-05", "google/gemini-2.5-pro-preview"),
        ("google/gemini-2.5-flash-001", "google/gemini-2.5-flash"),
        ("mistralai/mistral-medium", "mistralai/mistral-medium-2604"),  # the newest
        ("minimax/minimax-m2-5", "minimax/minimax-m2.5"),
        ("gpt-5", "openai/gpt-5"),
        ("claude-sonnet-5", "anthropic/claude-sonnet-5"),
        ("claude-3-5-haiku-20241022", HAIKU),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", HAIKU),
        ("openrouter/anthropic/claude-sonnet-5", "anthropic/claude-sonnet-5"),
        ("azure/gpt-4o", "openai/gpt-4o"),
        ("models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("accounts/fireworks/models/deepseek-v3", "deepseek/deepseek-v3"),
        ("gemini-flash-latest", "google/gemini-flash-latest"),
        ("kimi-k2-0905:nitro", "moonshotai/kimi-k2-0905"),
        ("openrouter/mistralai/mistral-large-2512", "mistralai/mistral-large-2512"),
        ("mistralai/mistral-large-3", "mistral/mistral-large-3"),
        ("us.deepseek.r1-v1:0", "deepseek/deepseek-r1"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "meta-llama/llama-3.3-70b-instruct"),
        ("mistral.mistral-large-2402-v1:0", "mistralai/mistral-large"),
        ("moonshot.kimi-k2-thinking", "moonshotai/kimi-k2-thinking"),
        ("openai.gpt-oss-120b-1:0", "openai/gpt-oss-120b"),
    ],
)
def test_a_variant_or_another_spelling_of_one_vendors_model_is_found(spelling, model):
    assert profile_for(spelling) == profile_for(model)


@pytest.mark.parametrize("prefix", ["", "azure/", "a/b/"])
def test_an_id_of_one_row_has_its_facts_and_prices_without_its_vendor(prefix):
    names = Counter(model.partition("/")[2] for model in PROFILES)
    own = {f"{prefix}{name}": model for model in PROFILES if names[name := model.partition("/")[2]] == 1}
    assert len(own) > 500
    assert {name: _profiles.known_id(name) for name in own} == own
    assert all(prices_of(name, 0) == prices_of(model, 0) for name, model in own.items())


def test_a_bare_name_of_two_vendors_has_no_profile(monkeypatch):
    row = ("Twin", "2026-01-01", 10, 10, "tT", "", "", "")
    monkeypatch.setattr(_profiles, "_rows", lambda: {"one/twin": row, "two/twin": row, "meta/a-llama": row})
    for lookup in (_profiles.known_id, _profiles._ids, _profiles._bare):
        monkeypatch.setattr(_profiles, lookup.__name__, lookup.__wrapped__)
    assert profile_for("twin") is None
    assert _profiles.known_id("a-llama") == "meta/a-llama"


@pytest.mark.parametrize(
    ("model", "family"),
    [
        (HAIKU, ("anthropic", "claude-haiku")),
        ("claude-sonnet-5", ("anthropic", "claude-sonnet")),
        ("xai/grok-4", ("x-ai", "grok")),
        ("~anthropic/claude-opus-latest", ("anthropic", "claude-opus")),
        ("no/such", None),
    ],
)
def test_a_family_has_one_vendor_however_gateways_call_it(model, family):
    assert family_of(model) == family


def test_fields_that_the_installed_core_does_not_know_are_left_out(monkeypatch):
    """langchain-core warns of unknown fields; older versions know fewer."""
    monkeypatch.setattr(ModelProfile, "__annotations__", {"name": str})
    assert _profiles._unpack.__wrapped__(HAIKU) == {"name": "Claude Haiku 3.5"}


def test_every_profile_holds_nothing_but_langchains_fields_in_their_types():
    fields = get_type_hints(ModelProfile)
    for model in PROFILES:
        for key, value in profile_for(model).items():
            assert type(value) is (get_origin(fields[key]) or fields[key]), (model, key)


def test_the_current_models_of_many_vendors_are_known():
    vendors = ("openai", "anthropic", "google", "meta-llama", "mistralai", "x-ai", "deepseek", "qwen")
    for vendor in (*vendors, "cohere", "amazon", "moonshotai", "minimax", "z-ai", "nvidia"):
        known = [profile_for(model) for model in PROFILES if model.startswith(f"{vendor}/")]
        assert len(known) >= 5, vendor
        assert any(profile["tool_calling"] for profile in known), vendor


def test_script_the_data_module_is_what_it_writes_of_the_same_profiles(script):
    text = (ROOT / "langchain_promptrun" / "data" / "_profiles.py").read_text(encoding="utf-8")
    profiles = {model: profile_for(model) for model in PROFILES}
    assert script.with_own_names(profiles) == profiles
    assert (
        script.render({model: profile | {"family": PROFILES[model][5]} for model, profile in profiles.items()}) == text
    )


@pytest.mark.parametrize(
    ("document", "made"),
    [
        (  # no model has the name of another version
            {
                "maker/small-1.5": facts(name="Small 1"),
                "maker/small-1-5": facts(name="Small 1.5 (latest)", release_date="2026-02-02"),
                "maker/small-1-5-20260203": facts(name="Small 1.5", release_date="2026-02-03"),
                "maker/alone-1.5": facts(name="Alone"),
            },
            {
                "maker/small-1.5": ("Small 1.5", "2026-02-03"),
                "maker/small-1-5": ("Small 1.5 (latest)", "2026-02-02"),
                "maker/small-1-5-20260203": ("Small 1.5", "2026-02-03"),
                "maker/alone-1.5": ("Alone", "2026-01-02"),
            },
        ),
        (  # of a whole file the gateways' sections count
            {
                "maker": {"models": {"small": facts(name="not by this id")}},
                "vercel": {"models": {"maker/small": facts(name="second"), "maker/other": facts(name="other")}},
                "openrouter": {"models": {"maker/small": facts(name="first")}},
            },
            {"maker/small": ("first", "2026-01-02"), "maker/other": ("other", "2026-01-02")},
        ),
        (  # what cannot chat is left out
            {
                "maker/small": facts(),
                "maker/no-window": facts(limit={"context": 0, "output": 0}),
                "maker/painter": facts(modalities={"input": ["text"], "output": ["image"]}),
                "maker/ear": facts(modalities={"input": ["audio"], "output": ["text"]}),
                "maker/text-embedding-1": facts(),
                "voyage/voyage-4": facts(),
            },
            {"maker/small": ("Small One", "2026-01-02")},
        ),
    ],
)
def test_script_takes_the_models_that_can_chat_under_their_own_names(rows, document, made):
    assert {model: row[:2] for model, row in rows(document).items()} == made


def test_script_translates_the_facts_of_models_dev_and_keeps_unknown_apart_from_false(rows):
    made = rows({"maker/small": facts(structured_output=False), "maker/other": facts(name='The "Other" One')})
    assert made["maker/small"] == ("Small One", "2026-01-02", 1000, 100, "tiTcfh", "", "", "")
    assert (made["maker/other"][0], made["maker/other"][4]) == ("The 'Other' One", "tiTcfh?s")


def test_script_writes_prices_with_their_tiers(rows):
    tier = {"input": 2, "output": 4, "tier": {"type": "context", "size": 200_000}}
    models = {"a/one": facts(cost={"input": 1, "output": 2, "cache_read": 0.5, "tiers": [tier]}), "a/two": facts()}
    del models["a/two"]["cost"]
    prices = rows(models, name="PRICES")
    assert prices == {"a/one": {0: (1, 2, 0.5, None, None), 200_000: (2, 4, None, None, None)}}


def test_script_lets_a_later_file_add_but_not_change(rows, tmp_path):
    later = tmp_path / "later.py"
    known = {"name": "Renamed", "release_date": "2026-05-05", "max_input_tokens": 5, "max_output_tokens": 5}
    known |= dict.fromkeys(("text_inputs", "text_outputs", "structured_output"), True)
    later.write_text(f"_PROFILES: dict = {{'maker/small': {known}, 'maker/new': {known}}}", encoding="utf-8")
    made = rows({"maker/small": facts()}, str(later))
    assert made["maker/small"] == ("Small One", "2026-01-02", 1000, 100, "tiTcsfh", "", "", "")
    assert made["maker/new"] == ("Renamed", "2026-05-05", 5, 5, "tTs?iavIAVrcfho", "", "", "")


def test_script_adds_what_a_vendors_package_says_to_all_variants(rows, tmp_path):
    known = facts(family="small") | {"status": "alpha"}
    models = {"maker/small-1.5": known, "maker/small-1.5:free": known, "maker/small-2": facts()}
    document = {"models": models, "retired": {"maker/small-2": {"on": "2026-01-01"}}}
    vendor = tmp_path / "vendor.py"
    more = {"name": "New", "release_date": "2026-02-03", "text_inputs": True, "text_outputs": True}
    said = {"reasoning_effort_levels": ["low"], "reasoning_effort_default": "low", "tool_choice": False}
    said |= {"image_url_inputs": True, "max_input_tokens": 7}
    vendor.write_text(f"_PROFILES = {{'small-1-5': {said}, 'new': {more | said}}}", encoding="utf-8")
    made = rows(document, f"maker={vendor}")
    for model in ("maker/small-1.5", "maker/small-1.5:free"):
        assert made[model][2:] == (1000, 100, "tiTcfhu?s!C", "small", "low=low", "alpha")
    assert made["maker/small-2"][5:] == ("small", "", "retired")
    assert made["maker/new"][:3] == ("New", "2026-02-03", 7)
