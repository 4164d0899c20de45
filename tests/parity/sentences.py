"""Texts for tokenizer tests: many scripts, and edge cases of text cleaning.

The texts are identical in every run and Python version. Random texts contain only characters of
Unicode 3.2, because that database is frozen. Newer characters, such as emoji, are listed explicitly.
"""

# ruff: noqa: E501, SIM905 - compact lists of texts

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import ucd_3_2_0 as frozen

import numpy as np

PHRASES = (
    "a photo of a dog", "Sphinx of black quartz, judge my vow.", "Zwölf Boxkämpfer jagen Viktor",
    "Portez ce vieux whisky au juge blond qui fume", "El pingüino Wenceslao hizo kilómetros",
    "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim", "Pchnąć w tę łódź jeża lub ośm skrzyń",
    "Příliš žluťoučký kůň úpěl ďábelské ódy", "Árvíztűrő tükörfúrógép", "Fahiş bluz güvencesi",
    "Pijamalı hasta yağız şoföre çabucak güvendi", "İSTANBUL ve IĞDIR", "Høj bly gom vandt fræk sexquiz",
    "Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa", "Tuới cây mỗi sáng ở Hà Nội, phở bò",
    "Съешь же ещё этих мягких французских булок", "Щастям б'єш жук їх глицю в фон й ґедзь пріч",
    "Љубазни фењерџија чађавог лица", "Жълтата дюля беше щастлива", "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία",
    "ΟΔΥΣΣΕΥΣ και ΣΊΣΥΦΟΣ", "דג סקרן שט בים מאוכזב", "نص حكيم له سر قاطع وذو شأن عظيم", "قِطّةٌ عَلى السَّطْحِ",
    "ایک تصویر جس میں کتا ہے", "گربه‌ای روی دیوار", "ऋषियों को सताने वाले दुष्ट राक्षसों", "কুকুরের একটি ছবি",
    "ਕੁੱਤੇ ਦੀ ਤਸਵੀਰ", "કૂતરાનો ફોટો", "ஒரு நாயின் புகைப்படம்", "కుక్క యొక్క ఫోటో", "ನಾಯಿಯ ಚಿತ್ರ", "ഒരു നായയുടെ ചിത്രം",
    "බල්ලෙකුගේ ඡායාරූපයක්", "ภาพถ่ายของสุนัขตัวหนึ่ง", "ຮູບຂອງໝາ", "ခွေးတစ်ကောင်၏ ဓာတ်ပုံ", "រូបថតឆ្កែ", "ཁྱིའི་པར་རིས།",
    "ძაღლის ფოტო", "ᲫᲐᲦᲚᲘᲡ ᲤᲝᲢᲝ", "Շան լուսանկար", "የውሻ ፎቶ", "ᏗᎦᏚᏂ ᎩᏟ", "ᐃᓄᒃᑎᑐᑦ", "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ", "いろはにほへと ちりぬるを",
    "犬の写真、ＡＢＣ１２３", "ｶﾀｶﾅ と カタカナ", "敏捷的棕色狐狸跳過了懶狗", "一张狗的照片。", "다람쥐 헌 쳇바퀴에 타고파", "한국어 " + "ㅎㅏㄴ",
    "𐌰𐌱𐌲 𐌳𐌴", "𝕬 𝖕𝖍𝖔𝖙𝖔 𝓸𝓯 𝒶 𝚍𝚘𝚐", "ﬁne eﬄuent ﬂight", "Ⅻ ① ② ½ ¾ ²³ ₄₅", "٠١٢٣ ۴۵۶ ७८९ ๑๒๓",
)  # fmt: skip
TEMPLATES = (
    "a photo of a {}.", "itap of the {}", "a bad photo of the {}!", "  art of\tthe {}  ", "\n{}\n\n",
    "{}'s toy", "the {}'ll don't they've I'm we'd you're it's", "«{}»", "“{}” — ‘x’ …", "({}) [{}] <{}>",
    "{}, {}; {}: {}", "<|startoftext|>{}<|endoftext|>", "&lt;{}&gt; &amp; more", "#{} @{} 100% $5.99",
    "{} 12345 3.1415 1,000,000", "https://example.org/{}?q=1&b=2#c", "__{}__ **{}** `{}`", "{}😀", "{}\u200d{}",
)  # fmt: skip
ODD = (
    "", " ", "\t\n\r\f\v", "\u00a0", "\u2003\u2009\u3000", "\ufeffa bom", "a\u200bb\u200cc\u200dd", "a\u0085b\u2028c\u2029d",
    "\u180e\u1680x", "\x00a\x01b\x1fc\x7fd\x9fe", "a\x1cb\x1db\x1ec", "\x1b[31mred\x1b[0m", "soft\u00adhyphen",
    "!", "!!!", "...", "?!?!", "'", "''", "'s", "'S 'T 'RE 'VE 'M 'LL 'D", "'\u017f \u212a \u212b \u017fs", "’s ’t can’t",
    "don''t", "rock'n'roll", "o'clock", "'re're've", "a's's", "_", "a_b_c", "snake_case and CamelCase",
    "&amp;", "&amp;amp;", "&amp;amp;amp;", "&amp;lt;b&amp;gt;", "&lt;3", "<b>&amp;</b>", "&nbsp;x&nbsp;", "&#233;t&#xe9;",
    "&#x1F600;", "&#0; &#28; &#x85; &#xD800; &#1114112;", "&copy2024 &notit; &hearts", "&EACUTE; &Eacute;", "AT&T; R&D",
    "&am​p;", "&quot;x&quot; &#39;s", "&amp;#39;s", "caf&eacute &amp;eacute;",
    "schÃ¶n cafÃ© â€œquotedâ€\x9d", "doesnâ€™t", "Ã¢â‚¬Å“double", "l’humanitÃ©", "ðŸ˜€ ðŸ¶", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "\u00c3\u00a9\u00c3\u00a8",
    "Windows-1252 \x93quotes\x94 \x85", "\ufffd replacement \ufffd", "L&AMP;AMP;ATILDE;&AMP;AMP;SUP3;PEZ",
    "\ud800 lone", "a\udfffb", "\ud83d\ude00 pair of surrogates", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f44d\U0001f3fd\U0001f1e9\U0001f1ea\u2764\ufe0f", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "e\u0301 vs \u00e9", "A\u030a \u00c5 \u212b", "Z\u0351\u036b\u0343\u036a\u0302a\u0321\u034alg\u0321o", "\u0130 i\u0307 I \u0131",
    "ΑΣ ΑΣ. ΣΑΣ", "ǅ ǈ ẞ ß ﬀ", "\u1e9e", "ﷺ ﷽", "①②③ Ⅷ ⅷ", "x²+y²=z²", "№ ™ ℠ ℃ ㎏ ㍿", "\ue000\uf8ff", "\u202eabc\u202c",
    "a" * 200, "ab" * 150, "aaaa bbbb " * 30, "x" * 3000, "1" * 90, "-" * 90, "!?" * 100, "é" * 120, "犬" * 120, "😀" * 60,
    "supercalifragilisticexpialidocious " * 20, "Pneumonoultramicroscopicsilicovolcanoconiosis",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "lopadotemachoselachogaleo",
    "<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|endoftext|", "a<|endoftext|>b", "<start_of_text>", "<end_of_text>",
    "C++ C# .NET 3D", "1st 2nd 3rd", "50°C", "3,14 1.000", "0x1F", "1e-5", "12:30", "2024-01-02", "+49 (0)30", "a@b.c",
)  # fmt: skip
WORDS = (
    "dog cat tench goldfish great_white_shark hammerhead electric-ray stingray rooster hen ostrich "
    "brambling goldfinch junco bunting robin bulbul jay magpie chickadee dipper kite eagle vulture "
    "maillot crane missile sunglasses T-shirt Band-Aid iPod CD-player Petri-dish St.Bernard McDonald's "
    "Yorkshire Café Jalapeño Über Straße naïve façade Ångström Gödel Dvořák Łódź Kraków 7-Eleven A380 "
    "F/A-18 747-400 BMW-X5 Volkswagen anisotropic photosynthesis antidisestablishmentarianism HTTP JPEG"
).split()
EMOJI = "😀😂🥰🤖👻🐶🐱🦊🦄🍕🍣🚗🚲🗼🏔🎉🔥✨💯🇫🇷🇯🇵👩‍🚀👨‍👩‍👧🧑🏽‍🌾👍🏿❤️☺️✈️⚽️♻️🏴‍☠️🏳️‍🌈1️⃣#️⃣©️™️"
BLOCKS = (
    (0x21, 0x7E), (0xA1, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
    (0x531, 0x58F), (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x7B1), (0x900, 0xDFF), (0xE00, 0xEFF), (0xF00, 0xFFF),
    (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x16FF), (0x1780, 0x18AF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20CF),
    (0x2100, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x2E80, 0x2FDF),
    (0x3000, 0x30FF), (0x3100, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE6F), (0xFF00, 0xFFEF), (0x10300, 0x1034F),
    (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x20000, 0x2A6D6),
    (0x0, 0x20), (0x7F, 0xA0),
)  # fmt: skip


def sentences() -> list[str]:
    """Return more than 2000 different texts in a fixed order."""
    random = np.random.RandomState(77)
    texts = [*ODD, *PHRASES]
    texts += [template.replace("{}", phrase) for template in TEMPLATES for phrase in PHRASES[::3]]
    for word in WORDS:
        template = TEMPLATES[random.randint(len(TEMPLATES))]
        texts += [word, word.upper(), template.replace("{}", word.replace("_", " "))]
    for block in BLOCKS:
        texts += [_salad(random, [block]) for _ in range(20)]
    texts += [_salad(random, BLOCKS) for _ in range(300)]
    pieces = [*ODD, *PHRASES, *WORDS]
    for _ in range(300):
        chosen = [pieces[random.randint(len(pieces))][:60] for _ in range(random.randint(2, 6))]
        texts.append(("", " ", "  ", "\n", "-")[random.randint(5)].join(chosen))
    for _ in range(100):
        start = random.randint(len(EMOJI))
        word = WORDS[random.randint(len(WORDS))]
        texts.append(EMOJI[start : start + random.randint(1, 9)] + " "[random.randint(2) :] + word)
    for _ in range(60):  # longer than any context length
        count = random.randint(70, 140)
        texts.append(" ".join(WORDS[random.randint(len(WORDS))] for _ in range(count)))
    return list(dict.fromkeys(texts))


def _salad(random: np.random.RandomState, blocks: Sequence[tuple[int, int]]) -> str:
    """Combine random characters of these blocks into words."""
    letters: list[str] = []
    length = random.randint(1, 40)
    while len(letters) < length:
        if random.randint(6) == 0:
            letters.append(" ")
        first, last = blocks[random.randint(len(blocks))]
        letter = chr(random.randint(first, last + 1))
        if frozen.category(letter) != "Cn":
            letters.append(letter)
    return "".join(letters)
