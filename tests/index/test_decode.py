import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import DataError
from unbraid.index.files.decode import decode, is_binary

TEXTS = {
    "Le café est fermé. Où êtes-vous allés hier soir, après la fête d'été?": "cp1252 latin-1",
    "Die Größe der Übertragung überschreitet das zulässige Maß für Schüler.": "cp1252 latin-1",
    "El año pasado la compañía creció un montón; ¿cuánto costó el diseño?": "cp1252",
    "He said “hello” — it’s 5 € and that’s all there is to say about the matter.": "cp1252",
    "caf\u00e9": "cp1252",
    "“Déjà vu” – the naïve café costs 5 € today, said the waiter.": "cp1252",
    "He came from Łódź to Kraków, and Wałęsa was there too.": "cp1250",
    "データベースに接続できません。設定を確認してください。": "shift_jis euc_jp",
    "数据库连接失败，请检查网络设置。用户名或密码错误。": "gbk gb18030",
    "Не удалось подключиться к базе данных. Проверьте настройки сети.": "koi8-r cp1251 cp866",
    "데이터베이스에 연결할 수 없습니다. 설정을 확인하십시오.": "euc_kr",
    "데이터베이스에 연결할 수 없습니다. 나중에 다시 시도하십시오.": "euc_kr",
    "한국어": "euc_kr",
    "สวัสดีครับ ไม่สามารถเชื่อมต่อกับฐานข้อมูลได้ กรุณาลองใหม่": "cp874",
    "Δεν ήταν δυνατή η σύνδεση με τη βάση δεδομένων.": "cp1253",
    "Nie można połączyć się z bazą danych. Sprawdź ustawienia sieci, proszę.": "cp1250 iso8859-2",
    "לא ניתן להתחבר למסד הנתונים. בדוק את הגדרות הרשת.": "cp1255",
    "تعذر الاتصال بقاعدة البيانات. تحقق من إعدادات الشبكة.": "cp1256",
    "Veritabanına bağlanılamadı. Lütfen ağ ayarlarını kontrol edin, şifre yanlış.": "cp1254",
}
CASES = [(text, encoding) for text, encodings in TEXTS.items() for encoding in encodings.split()]


@pytest.mark.parametrize(("text", "encoding"), CASES)
def test_an_old_encoding_is_found_and_named(text, encoding):
    for lines in (text, f"{text}\n" * 20, "plain words in English\n" * 3000 + text):
        found, assumed = decode(lines.encode(encoding))
        assert found == lines
        assert assumed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_unicode_is_read_with_its_mark_and_without(encoding):
    text = "Write-Host 'hé'\nplain English words\n"
    assert decode(text.encode(encoding)) == (text, encoding if encoding.endswith("e") else "")
    assert not is_binary(text.encode(encoding))


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_both_orders_of_a_mark_are_read(mark):
    order = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    assert decode(mark + "a中".encode(order)) == ("a中", "")


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("# -*- coding: latin-1 -*-\n", "latin-1"),
        ("#!/usr/bin/python\n# vim: set fileencoding=koi8-r :\n", "koi8-r"),
        ("# coding=iso8859-15\n", "iso8859-15"),
        ('<?xml version="1.0" encoding="iso-8859-2"?>\n', "iso8859-2"),
        ('<!doctype html>\n<html>\n<head>\n<meta charset="cp1251">\n', "cp1251"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=euc-jp">\n', "euc-jp"),
    ],
)
def test_what_a_file_says_of_itself_counts(head, encoding):
    text = head + {"koi8-r": "ж", "cp1251": "ж", "iso8859-2": "ł", "euc-jp": "設定"}.get(encoding, "\u00e9")
    assert decode(text.encode(encoding)) == (text, "")


def test_a_wrong_or_unknown_declaration_is_passed_over():
    text = "# coding: utf-8\nname = 'caf\u00e9'\n"
    assert decode(text.encode("cp1252"))[0] == text
    assert decode(b"# coding: rot13\ncaf\xe9\n")[0].endswith("caf\u00e9\n")


@pytest.mark.parametrize(
    "data",
    [b"\x7fELF\0\0\0", b"\x89PNG\r\n\x1a\n\xff\xfe\x01\x02\x03", bytes(range(256)), b"\xff\xfea\0\0\0"],
)
def test_what_is_no_text_is_refused(data):
    with pytest.raises(DataError):
        decode(data)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_refused(data):
    try:
        text, assumed = decode(data)
    except DataError:
        return
    assert "\0" not in text
    assert isinstance(assumed, str)


@settings(max_examples=100)
@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=100))
def test_every_text_in_utf8_is_itself(text):
    assert decode(text.encode()) == (text, "")
    assert decode(text.encode("utf-8-sig")) == (text, "")
    assert not is_binary(text.encode())
