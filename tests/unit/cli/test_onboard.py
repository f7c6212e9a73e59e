"""`shakenctl onboard` as an operator goes through it: from nothing to the last step; what is said, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.lifecycle import publication
from kamailio_app.lifecycle.checklist_steps import COUNTRIES, steps_of

from ..builders import DAY, NOW, hierarchy

TODAY = "2023-11-14"


class Office:
    """An operator with settings, or without."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.settings = directory / "stirshaken.toml"
        self.provider = '[provider]\nprovider_name = "Example Telephone Company"\nspc = "1234"\nprovider_state_dir = "state"\n'
        self.configure()
        monkeypatch.setattr("kamailio_app.cli.onboard.time", SimpleNamespace(time=lambda: float(NOW)))

    def configure(self, more: str = "") -> None:
        self.settings.write_text(self.provider + more)

    def run(self, *words: str, before: tuple[str, ...] = ()) -> Result:
        done = CliRunner().invoke(main, ["onboard", *before, *words], env={"STIRSHAKEN_SETTINGS": str(self.settings)})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def data(self, *words: str) -> dict[str, Any]:
        found = json.loads(self.run(*words, "--json").stdout)
        assert isinstance(found, dict)
        return found

    def state(self, step: str) -> str:
        return str(self.data("show", step)["state"])


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(tmp_path, monkeypatch)


def test_list_shows_steps_states_and_what_is_next(office: Office) -> None:
    done = office.run()
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0] == "US: Example Telephone Company, SPC 1234; 0 of 14 steps are behind you"
    assert [line.split()[0] for line in lines[3:17]] == [step.id for step in steps_of("US")]
    assert lines[-3:] == [
        "Next: entity, Registered entity; where: the company register",
        "  shakenctl onboard done entity name=...",
        "  shakenctl onboard show entity",
    ]
    assert not (office.directory / "state").exists()


def test_newcomer_without_settings_is_told_what_to_do(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.settings.unlink()
    assert office.run().exit_code == 3  # somebody named that file
    monkeypatch.setattr("kamailio_app.cli.onboard.DEFAULT_PATH", office.settings)
    done = office.run()
    assert done.exit_code == 0
    assert f"? there are no settings yet at {office.settings}: copy cfg/stirshaken.toml there" in done.output


def test_every_step_can_be_gone_in_the_order_that_is_told(office: Office) -> None:
    values = {"name": "Example Telephone Company", "frn": "0012345678", "filer_id": "812345", "ocn": "1234"}
    values["rmd_number"] = "RMD0001234"
    for count in range(len(steps_of("US"))):
        data = office.data()
        assert data["fine"]
        assert sum(step["state"] == "done" for step in data["steps"]) == count
        step = next(each for each in steps_of("US") if each.id == data["next"])
        done = office.run("done", step.id, *(f"{each.name}={values[each.name]}" for each in step.fields))
        assert (done.exit_code, done.output.splitlines()[0]) == (0, f"{step.id}: done {TODAY}")
    assert office.data()["next"] is None
    assert office.run().output.splitlines()[-1].startswith("Nothing is left to do")


@pytest.mark.parametrize("country", COUNTRIES)
def test_every_step_shows_itself(office: Office, country: str) -> None:
    for step in steps_of(country):
        shown = office.run("show", step.id, "--country", country)
        assert shown.exit_code == 0
        assert step.purpose in shown.output
        assert all(line in shown.output for line in step.commands)
        assert all(fact.text in shown.output and fact.source in shown.output for fact in step.facts)


def test_what_is_not_confirmed_says_so(office: Office) -> None:
    assert "; not confirmed]" in office.run("show", "sti-pa", "--country", "CA").output


def test_note_keeps_values_proofs_dates_and_words(office: Office) -> None:
    paper = office.directory / "receipt.pdf"
    paper.write_bytes(b"paid")
    done = office.run(
        *("note", "499a", "filer_id=812345", "--file", str(paper), "--until", "2024-04-01", "--text", "by the accountant")
    )
    assert (done.exit_code, done.output) == (0, "499a: after entity\n")
    data = office.data("show", "499a")
    assert (data["values"], data["until"], data["due_in"]) == ({"filer_id": "812345"}, "2024-04-01", 139)
    assert (data["text"], data["proofs"][0]["file"], data["proofs"][0]["noted"]) == ("by the accountant", str(paper), TODAY)
    shown = office.run("show", "499a").output
    assert "Noted:        filer_id=812345\n" in shown
    assert f"Seen here:    + {paper} is as it was on {TODAY}\n" in shown
    office.run("note", "499a", "filer_id=")
    assert office.data("show", "499a")["values"] == {}
    assert office.data("show", "499a")["text"] == "by the accountant"


def test_yearly_duty_offers_its_reminder_and_becomes_overdue(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    done = office.run("done", "499a", "filer_id=812345", "--on", "2023-03-20")
    assert "to be reminded: shakenctl onboard note 499a --until 2023-04-01" in done.output
    assert office.run("note", "499a", "--until", "2023-12-01").exit_code == 0
    assert "! 499a: due on 2023-12-01, in 17 days" in office.run().output
    later = NOW + 18 * DAY
    monkeypatch.setattr("kamailio_app.cli.onboard.time", SimpleNamespace(time=lambda: float(later)))
    late = office.run()
    assert late.exit_code == 1
    assert "! 499a: was due on 2023-12-01" in late.output
    assert office.data()["next"] == "499a"
    assert office.run("show", "499a").exit_code == 1
    assert office.run("show", "frn").exit_code == 0


def test_done_without_its_number_says_what_is_not_noted(office: Office) -> None:
    assert "not noted yet: frn" in office.run("done", "frn").output


def test_contradiction_is_the_next_thing_and_ends_with_1(office: Office) -> None:
    assert office.run("done", "ocn", "ocn=5678").exit_code == 1
    done = office.run()
    assert done.exit_code == 1
    assert "! ocn: 5678 is noted, [provider] spc is 1234" in done.output
    assert "Next: ocn" in done.output
    mend = "shakenctl onboard note ocn ocn=1234, or mend [provider] spc"
    assert f"  {mend}\n" in done.output
    assert f"  -> {mend}\n" in office.run("show", "ocn").output
    assert office.data("show", "ocn")["mends"] == [mend]
    # And that ends it
    assert office.run("note", "ocn", "ocn=1234").exit_code == 0


def test_name_that_contradicts_says_what_ends_it(office: Office) -> None:
    assert office.run("done", "entity", "name=Foo").exit_code == 1
    assert (
        "shakenctl onboard note entity 'name=Example Telephone Company', or mend [provider] provider_name"
        in office.run().output
    )


def test_undo_takes_back_and_keeps_what_was_noted(office: Office) -> None:
    office.run("done", "entity", "name=Example Telephone Company")
    assert office.state("entity") == "done"
    assert office.run("undo", "entity").exit_code == 0
    data = office.data("show", "entity")
    assert (data["state"], data["values"]) == ("open", {"name": "Example Telephone Company"})


def test_step_that_is_not_needed_says_why_and_blocks_nobody(office: Office) -> None:
    office.run("done", "entity")
    assert office.run("not-needed", "frn", "--why", "no FCC filings").exit_code == 0
    assert (office.state("frn"), office.state("rmd")) == ("not needed", "open")
    office.run("done", "frn")
    assert office.state("frn") == "done"
    office.run("not-needed", "frn", "--why", "as I said")
    office.run("undo", "frn")
    assert office.state("frn") == "open"


def test_certificate_is_seen_and_the_list_goes_on_from_there(office: Office) -> None:
    pair = hierarchy().service_provider(ServiceProvider("1234", not_after=NOW + 50 * DAY))
    pair.write(office.directory / "certs", "sp1234")
    (office.directory / "roots.pem").write_bytes(hierarchy().root.pem)
    office.configure(
        '[verification]\nca_file = "roots.pem"\n[signing]\ncertificate_dir = "certs"\n'
        'public_cert_url = "https://cr.example.test/{name}.pem"\n'
    )
    states = {step["step"]: step["state"] for step in office.data()["steps"]}
    assert {name for name, state in states.items() if state == "verified"} == {
        *("ocn", "sti-pa", "sti-ca", "token", "certificate", "install"),
    }


def test_fetch_looks_where_the_chain_is_published(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    test_certificate_is_seen_and_the_list_goes_on_from_there(office)
    monkeypatch.setattr(publication, "check", lambda _known, url, _chain, **_others: publication.Seen(url, True, ()))
    states = {step["step"]: step["state"] for step in office.data("--fetch")["steps"]}
    assert states["publication"] == "verified"


def test_other_country_has_its_own_steps_and_notes(office: Office) -> None:
    office.run("done", "entity")
    data = office.data("--country", "FR")
    assert (data["country"], data["next"], data["steps"][0]["state"]) == ("FR", "entity", "open")
    assert data["remarks"] == ["the settings are for US: nothing of this host was looked at"]
    office.provider = office.provider.replace('spc = "1234"', 'spc = "ABC123"\ncountry = "FR"')
    office.configure()
    assert office.data()["country"] == "FR"
    assert office.run("done", "spc", "spc=ABC123").exit_code == 0


def test_country_without_a_checklist_ends_with_3(office: Office) -> None:
    office.provider = office.provider.replace('spc = "1234"', 'country = "DE"')
    office.configure()
    done = office.run()
    assert done.exit_code == 3
    assert done.stderr.splitlines() == [
        "checklist_country_unknown: DE; there are US, CA, FR",
        "Name one of those with `--country`.",
    ]


def test_options_may_stand_before_the_subcommand_and_those_behind_it_win(office: Office) -> None:
    shown = office.run("show", "spc", before=("--country", "FR", "--json"))
    assert json.loads(shown.stdout)["step"] == "spc"
    assert office.run("show", "ocn", "--country", "US", before=("--country", "FR")).exit_code == 0


def test_step_of_another_spelling_is_suggested(office: Office) -> None:
    for word in ("frm", "FRN"):
        done = office.run("show", word)
        asked = done.stderr.partition("did you mean ")[2].partition("?")[0]
        assert (done.exit_code, "frn" in asked.split(" or ")) == (2, True)


def test_without_settings_nothing_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "stirshaken.toml"
    monkeypatch.setattr("kamailio_app.cli.onboard.DEFAULT_PATH", place)
    for words in (("done", "entity"), ("note", "frn", "frn=0012345678"), ("undo", "entity")):
        done = CliRunner().invoke(main, ["onboard", *words, "--settings", str(place)])
        said, advice = done.stderr.splitlines()
        assert (done.exit_code, said) == (3, f"settings_unreadable: {place}: No such file or directory")
        assert "cfg/stirshaken.toml" in advice
    assert CliRunner().invoke(main, ["onboard", "--settings", str(place)]).exit_code == 0


def test_steps_of_later_versions_are_said_and_stay(office: Office) -> None:
    office.run("done", "entity")
    file = office.directory / "state/onboarding.json"
    document = json.loads(file.read_text())
    document["countries"]["US"]["steps"]["moon\x1b"] = {"done": "2023-01-01"}
    file.write_text(json.dumps(document))
    assert r"? noted of steps that this version does not know: moon\x1b" in office.run().output
    office.run("done", "frn")
    assert "moon\x1b" in json.loads(file.read_text())["countries"]["US"]["steps"]


def test_file_of_notes_that_is_damaged_ends_with_3_and_is_left(office: Office) -> None:
    (office.directory / "state").mkdir()
    (office.directory / "state/onboarding.json").write_text("{")
    for words in ((), ("done", "entity"), ("show", "entity")):
        done = office.run(*words)
        assert done.exit_code == 3
        assert done.stderr.startswith("checklist_unreadable: ")
    assert (office.directory / "state/onboarding.json").read_text() == "{"


def test_value_of_the_wrong_form_ends_with_3_and_notes_nothing(office: Office) -> None:
    done = office.run("done", "frn", "frn=12\x1b[2J")
    assert done.exit_code == 3
    said, advice = done.stderr.splitlines()
    assert said == r"checklist_value_invalid: frn '12\x1b[2J' is not 10 digits (47 CFR 1.8001)"
    assert advice
    assert office.state("frn") == "blocked"


@pytest.mark.parametrize(
    "words",
    [
        ("show", "moon"),
        ("show", "spc"),  # of France
        ("done", "frn", "0012345678"),
        ("done", "frn", "--on", "2023-11-15"),
        ("done", "frn", "--on", "yesterday"),
        ("note", "frn"),
        ("note", "frn", "--until", "2023-02-30"),
        ("note", "frn", "--text", "a\nb"),
        ("note", "frn", "--text", "x" * 501),
        ("note", "frn", "--file", "/no/such/file"),
        ("not-needed", "frn"),
        ("not-needed", "frn", "--why", " "),
        ("undo",),
        ("--country", "DE"),
        ("sleep",),
    ],
)
def test_command_lines_that_are_none_end_with_2_and_note_nothing(office: Office, words: tuple[str, ...]) -> None:
    assert office.run(*words).exit_code == 2
    assert not (office.directory / "state/onboarding.json").exists()
