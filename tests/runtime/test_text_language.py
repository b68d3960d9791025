import numpy as np
import pytest

from unbraid.runtime.text_language import (
    LANGUAGES,
    UNKNOWN,
    detect,
    gram_buckets,
    is_english,
    language_of,
    script_of,
)

SENTENCES = {
    "en": "How do I reset my password when the email never arrives?",
    "de": "Wie setze ich mein Passwort zurück, wenn die Nachricht nicht ankommt?",
    "fr": "Comment réinitialiser mon mot de passe si le message n'arrive jamais ?",
    "es": "¿Cómo puedo cambiar la contraseña si el correo no llega nunca?",
    "it": "Come posso cambiare la password se il messaggio non arriva mai?",
    "pt": "Como posso mudar a minha senha se a mensagem não chega nunca?",
    "nl": "Hoe kan ik mijn wachtwoord wijzigen als het bericht nooit aankomt?",
    "pl": "Jak mogę zmienić hasło, jeśli wiadomość nigdy nie przychodzi?",
    "tr": "Mesaj hiç gelmezse şifremi nasıl değiştirebilirim?",
    "vi": "Làm thế nào để đổi mật khẩu nếu thư không bao giờ đến?",
    "id": "Bagaimana cara mengganti kata sandi jika pesan tidak pernah sampai?",
    "ru": "Как мне изменить пароль, если письмо никогда не приходит?",
    "uk": "Як мені змінити пароль, якщо лист ніколи не надходить?",
    "ar": "كيف أغير كلمة المرور إذا لم تصل الرسالة أبدا؟",
    "fa": "اگر پیام هرگز نرسد چگونه می‌توانم گذرواژه را تغییر دهم؟",
    "hi": "अगर संदेश कभी नहीं आता तो मैं पासवर्ड कैसे बदलूं?",
    "zh": "如果邮件一直没有到，我该怎么修改密码？",
    "ja": "メールが届かない場合、パスワードはどう変更しますか。",
    "ko": "메일이 오지 않으면 비밀번호를 어떻게 바꾸나요?",
    "el": "Πώς μπορώ να αλλάξω τον κωδικό μου αν το μήνυμα δεν φτάνει;",
    "he": "איך אפשר לשנות את הסיסמה אם ההודעה לא מגיעה?",
    "th": "ฉันจะเปลี่ยนรหัสผ่านได้อย่างไรถ้าอีเมลไม่มาถึง",
    "ta": "மின்னஞ்சல் வரவில்லை என்றால் கடவுச்சொல்லை எப்படி மாற்றுவது?",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_told(language):
    assert detect(SENTENCES[language]) == language
    assert is_english(SENTENCES[language]) == (language == "en")


@pytest.mark.parametrize("text", ["", "   ", "12345 !?", "🙂", "\ud800"])
def test_text_without_letters_is_unknown_and_read_as_english(text):
    assert detect(text) == UNKNOWN and is_english(text)


def test_an_unknown_script_is_neither_named_nor_read_as_english():
    runes = "ᚠᚢᚦᚨᚱᚲ"
    assert detect(runes) == language_of(runes) == UNKNOWN


@pytest.mark.parametrize("language", SENTENCES)
def test_a_text_is_read_in_its_language(language):
    assert language_of(SENTENCES[language]) == language


def test_what_may_be_english_is_read_as_english():
    assert detect("password") != "en" and language_of("password") == "en"
    assert language_of("") == language_of("404") == "en"


@pytest.mark.parametrize(
    "text",
    ["git rebase --onto main", "numpy.linalg.norm axis", "def get_name(self): return self.name", "HTTP 404"],
)
def test_commands_and_code_go_the_english_way(text):
    assert is_english(text)


def test_english_terms_in_a_foreign_sentence_leave_its_script():
    assert script_of("git rebase を使って commit を整理する") == "kana"
    assert script_of("Установите pip install unbraid") == "cyrillic"
    assert script_of("What does 你好 mean in a Chinese conversation?") == "latin"


def test_han_without_kana_is_chinese_and_with_some_japanese():
    assert detect("東京都") == "zh"
    assert detect("東京都の人口") == "ja"


def test_only_the_first_characters_are_read():
    assert detect(SENTENCES["de"] * 20 + SENTENCES["ru"] * 10_000) == "de"


def test_case_digits_and_punctuation_do_not_count():
    assert np.array_equal(gram_buckets("Der, Hund!", 64), gram_buckets("der 12 hund", 64))


def test_grams_are_those_of_one_to_the_longest_size():
    from unbraid.runtime.text_language import GRAMS

    assert len(gram_buckets("ab", 64)) == sum(max(0, 4 - size + 1) for size in GRAMS)  # " ab "


def test_there_are_twenty_languages_and_more():
    assert len(LANGUAGES) >= 40 and "en" in LANGUAGES and UNKNOWN not in LANGUAGES


def test_the_model_file_is_small():
    from importlib.resources import files

    assert len(files("unbraid.runtime").joinpath("text_language.npz").read_bytes()) < 70_000
