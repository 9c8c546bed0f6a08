"""A change of the file of users counts at once: roles, passwords, and who is a user at all."""

import json
import logging

from breastkit.server.security.users import Role, Users, set_user


def test_a_new_role_a_new_password_and_no_user_any_more_count_at_once(tmp_path):
    path = set_user(str(tmp_path / "users.json"), "anna", role="admin", password="draws lesions")
    set_user(str(path), "bert", role="viewer", password="looks at them")
    users = Users(path)
    anna, bert = users.log_in("anna", "draws lesions"), users.log_in("bert", "looks at them")
    assert users.of_token(anna).role is Role.ADMIN
    stored = json.loads(path.read_text())
    stored["users"]["anna"]["role"] = "viewer"
    path.write_text(json.dumps(stored))
    assert users.of_token(anna).role is Role.VIEWER
    set_user(str(path), "anna", role="viewer", password="draws no more")
    assert users.of_token(anna) is None
    assert users.log_in("anna", "draws lesions") is None
    assert users.log_in("anna", "draws no more")
    set_user(str(path), "carl", password="came later on")
    assert users.log_in("carl", "came later on")
    del stored["users"]["bert"]
    path.write_text(json.dumps(stored))
    assert users.of_token(bert) is None


def test_a_damaged_file_changes_nobody_and_is_said(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    path = set_user(str(tmp_path / "users.json"), "anna", password="draws lesions")
    users = Users(path)
    token = users.log_in("anna", "draws lesions")
    path.write_text("half of")
    assert users.of_token(token).name == "anna"
    assert "is no file of users" in caplog.text and "Those known before stay" in caplog.text
    path.unlink()
    assert users.of_token(token).name == "anna"


def test_a_token_can_be_ended(tmp_path):
    users = Users(set_user(str(tmp_path / "users.json"), "anna", password="draws lesions"))
    one, other = (users.log_in("anna", "draws lesions") for _ in range(2))
    users.log_out(one)
    users.log_out("none")
    assert users.of_token(one) is None
    assert users.of_token(other).name == "anna"
