"""Every rule of every shipped preset on texts just inside and just outside of its bound, and texts that must stay.

A text just outside fails that rule and no other, so a bound that moves, or a signal that drifts, is seen here by name.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from corpuskit.config import Rule, RuleSet, UserError, load_rules
from corpuskit.filters.rules import KEPT, check_signals, failing, judge, verdicts
from corpuskit.filters.signals import SIGNALS, measure
from corpuskit.text.normalize import normalize_text
from corpuskit.text.shadow import shadow_column

NAMES = (*SIGNALS, "language_probability")


def failed_rules(text: str, lang: str, language: float = 1.0) -> list[str]:
    """The rules of the language's default preset that a text fails, in their order."""
    rules = load_rules(lang).rules
    profile = "none" if lang == "code" else "ja-safe"
    signals = measure(shadow_column(pa.array([normalize_text(text, profile)], pa.string())))
    fails = failing(np.column_stack([signals, [language]]).astype(np.float32), NAMES, rules)
    return [rule.name for rule, fail in zip(rules, fails[0], strict=True) if fail]


# --- building texts of an exact length ----------------------------------------------------------------------------

WHO = [
    "祖父",
    "図書館の職員",
    "隣の大工",
    "若い漁師",
    "町の医者",
    "高校の教師",
    "旅の画家",
    "老いた農夫",
    "駅の案内係",
    "理科の先生",
]
WHERE = ["朝の港で", "山あいの畑で", "古い橋のそばで", "雨の商店街で", "静かな寺の庭で", "川沿いの道で", "冬の浜辺で"]
WHAT = ["小さな舟を直した", "地図を広げて道を確かめた", "白い花の名前を調べた", "昔の写真を見せてくれた", "新しい井戸を掘り始めた",  # noqa: E501
        "子どもたちに歌を教えた", "焼きたての餅を配った", "壊れた時計を持ち帰った", "遠くの雷に耳を澄ませた"]  # fmt: skip  # noqa: E501


def sentences() -> Iterator[str]:
    """Japanese sentences, no two alike."""
    order = list(itertools.product(WHO, WHERE, WHAT))
    random.Random(1).shuffle(order)
    for number, (who, where, what) in enumerate(order * 3):
        yield f"{who}は{where}、{['', '昼過ぎに', '日の暮れるころ'][number // len(order)]}{what}。"


def prose(chars: int) -> str:
    """Japanese prose of exactly this many characters."""
    text = "".join(itertools.islice(sentences(), chars // 20 + 2))
    assert len(text) >= chars
    return text[: chars - 1] + "。"


POOL = [chr(c) for c in range(0x4E00, 0x4E00 + 3000) if chr(c) not in "縺繧繝荳螟譁蜷縲髢"]
HIRAGANA = [chr(c) for c in range(0x3042, 0x3094)]
KATAKANA = [chr(c) for c in range(0x30A2, 0x30F5)]


def letters(chars: int, pool: list[str], seed: int = 0) -> str:
    return "".join(random.Random(f"{seed}/{chars}/{pool[0]}").choices(pool, k=chars))


SYMBOLS = "○●◎★☆■□▲△▼▽◆◇→←↑↓=+♪♭〒±×÷∞∴♂♀"


def mixed(**parts: int) -> str:
    """A shuffled text of so many characters of each kind, in 20 sentences: 20 full stops come on top."""
    pools = {
        "kanji": POOL,
        "hiragana": HIRAGANA,
        "katakana": KATAKANA,
        "latin": list("abcdefghijklmnopqrstuvwxyz"),
        "digits": list("0123456789"),
        "symbols": list(SYMBOLS),
        "mojibake": list("縺繧繝荳螟譁蜷縲髢"),
    }
    chars = [c for name, count in parts.items() for c in letters(count, pools[name], seed=1)]
    random.Random(2).shuffle(chars)
    cuts = [len(chars) * k // 20 for k in range(21)]
    return "".join("".join(chars[a:b]) + "。" for a, b in itertools.pairwise(cuts))


# --- Japanese: rule -> the text just inside and the text just outside ----------------------------------------------


def char_run(length: int) -> str:
    text = prose(3000)
    return text[:1500] + "い" * length + text[1500:]


def short_lines(short: int) -> str:
    """100 lines: so many of 10 characters, the others of 11."""
    return "\n".join(letters(9 + (at >= short), HIRAGANA, seed=at) + "。" for at in range(100))


def ellipsis(trailing: int) -> str:
    return "\n".join(
        s[:-1] + ("…" if at < trailing else "。") for at, s in enumerate(itertools.islice(sentences(), 20))
    )


def same_lines(repeated: int) -> str:
    made = [letters(19, HIRAGANA, seed) + "。" for seed in range(100 - repeated)]
    return "\n".join(made + made[:repeated])


def same_sentences(repeated: int) -> str:
    made = [letters(19, HIRAGANA, seed) + "。" for seed in range(100 - repeated)]
    return "".join(made + made[:repeated])


def same_gram(gram: str, count: int, chars: int) -> str:
    """`count` times the same gram in `chars` characters, nothing else alike; a full stop now and then."""
    rest = list(letters(chars - count * len(gram), POOL, seed=3))
    for at in range(0, len(rest), 40):
        rest[at] = "。"
    cuts = [len(rest) * k // count for k in range(count + 1)]
    return "".join(gram + "".join(rest[a:b]) for a, b in itertools.pairwise(cuts))


JA: dict[str, tuple[str, str]] = {
    "too_short": (prose(200), prose(199)),
    "garbled": (mixed(kanji=390, hiragana=580, mojibake=10), mixed(kanji=389, hiragana=580, mojibake=11)),
    "not_japanese": (mixed(hiragana=100, latin=880), mixed(hiragana=99, latin=881)),
    "few_hiragana": (mixed(hiragana=120, kanji=880), mixed(hiragana=119, kanji=881)),
    "mostly_katakana": (mixed(katakana=650, hiragana=200, kanji=150), mixed(katakana=651, hiragana=200, kanji=149)),
    "mostly_symbols": (mixed(symbols=200, hiragana=400, kanji=380), mixed(symbols=201, hiragana=400, kanji=379)),
    "mostly_digits": (mixed(digits=300, hiragana=400, kanji=280), mixed(digits=301, hiragana=400, kanji=279)),
    "character_run": (char_run(200), char_run(201)),
    "short_lines": (short_lines(80), short_lines(81)),
    "unpunctuated_sentences": (
        letters(100, HIRAGANA, 4) + letters(100, POOL, 4),
        letters(101, HIRAGANA, 4) + letters(100, POOL, 4),
    ),
    "ellipsis_lines": (ellipsis(6), ellipsis(7)),
    "duplicate_lines": (same_lines(30), same_lines(31)),
    "duplicate_sentences": (same_sentences(35), same_sentences(36)),
    "repeated_2gram": (same_gram("です", 100, 800), same_gram("です", 101, 800)),
    "repeated_4gram": (same_gram("ているの", 40, 500), same_gram("ているの", 41, 500)),
}


@pytest.mark.parametrize("rule", JA)
def test_japanese_text_at_the_bound_is_kept_and_beyond_it_fails_this_rule_alone(rule: str) -> None:
    inside, outside = JA[rule]
    assert failed_rules(inside, "ja") == []
    assert failed_rules(outside, "ja") == [rule]


def test_language_probability_is_a_rule_like_the_others() -> None:
    assert failed_rules(prose(300), "ja", language=0.3) == []
    assert failed_rules(prose(300), "ja", language=0.2999) == ["wrong_language"]


def test_every_japanese_rule_has_a_text_on_both_sides() -> None:
    assert {rule.name for rule in load_rules("ja").rules} == {*JA, "wrong_language"}


REMOVED_JA = {
    "UTF-8 read as Shift_JIS": (prose(300).encode().decode("cp932", "replace"), "garbled"),
    "an English page": (
        "The committee met again in spring. " * 3 + "Nobody in the room had read the report. " * 8,
        "not_japanese",
    ),
    "a Chinese page": (
        "這本書講述了一個年輕人離開家鄉到大城市尋找工作的故事,他經歷了許多困難,最後終於成功了。" * 8,
        "few_hiragana",
    ),
    "a list of model names": (
        "".join(
            f"プリンターインクカートリッジブラックラージサイズセットパック{a}{b}を。"
            for a, b in zip(KATAKANA, KATAKANA[9:], strict=False)
        ),
        "mostly_katakana",
    ),
    "a price list": (
        "\n".join(f"品番{n * 7919 % 99991:05d} 価格{n * 104729 % 99991}円です" for n in range(40)),
        "mostly_digits",
    ),
    "a menu": ("\n".join(letters(4, KATAKANA[:9] + HIRAGANA, seed=at) for at in range(80)), "short_lines"),
    "one sentence again and again": ("本日限りの特別価格でご提供いたします。" * 20, "duplicate_sentences"),
    "teasers": ("\n".join(s[:18] + "..." for s in itertools.islice(sentences(), 30)), "ellipsis_lines"),
    "a navigation bar on every screen": (
        "トップページへ戻る方はこちらからどうぞ\n" * 12 + prose(200),
        "duplicate_lines",
    ),
}


@pytest.mark.parametrize("what", REMOVED_JA)
def test_web_rubbish_is_removed_for_the_right_reason(what: str) -> None:
    text, rule = REMOVED_JA[what]
    assert rule in failed_rules(text, "ja")


KEPT_JA = {
    "articles of a statute": """\
第一章　総則
（目的）
第一条　この法律は、個人情報の適正な取扱いに関し、基本理念及び政府による基本方針の作成その他の個人情報の保護に関する施策の基本となる事項を定めることにより、個人の権利利益を保護することを目的とする。
（定義）
第二条　この法律において「個人情報」とは、生存する個人に関する情報であって、次の各号のいずれかに該当するものをいう。
一　当該情報に含まれる氏名、生年月日その他の記述等により特定の個人を識別することができるもの
二　個人識別符号が含まれるもの
２　この法律において「個人識別符号」とは、次の各号のいずれかに該当する文字、番号、記号その他の符号のうち、政令で定めるものをいう。
第三条　削除
""",  # noqa: E501
    "a recipe": """\
肉じゃがの作り方（四人分）

材料
・牛こま切れ肉　200g
・じゃがいも　4個
・玉ねぎ　1個
・にんじん　1本
・しらたき　1袋
・しょうゆ　大さじ4
・みりん　大さじ3
・砂糖　大さじ2
・だし汁　400ml

作り方
1. じゃがいもは皮をむいて四つに切り、水にさらします。
2. 玉ねぎはくし形に、にんじんは乱切りにします。しらたきは下ゆでして、食べやすい長さに切ってください。
3. 鍋に油を熱して肉を炒め、色が変わったら野菜を加えてさらに炒めます。
4. だし汁を入れて煮立て、あくを取り、調味料を加えて落としぶたをして20分煮ます。
5. 火を止めてしばらく置くと、味がよくしみます。
""",
    "old kana": """\
山路を登りながら、かう考へた。智に働けば角が立つ。情に棹させば流される。意地を通せば窮屈だ。兎角に人の世は住みにくい。住みにくさが高じると、安い所へ引き越したくなる。どこへ越しても住みにくいと悟つた時、詩が生れて、畫が出來る。
人の世を作つたものは神でもなければ鬼でもない。矢張り向ふ三軒兩隣りにちらちらする唯の人である。唯の人が作つた人の世が住みにくいからとて、越す國はあるまい。あれば人でなしの國へ行く許りだ。人でなしの國は人の世よりも猶住みにくからう。
""",
    "dialect": """\
せやけど、うちのおばあちゃんはほんまによう働く人やったで。朝は誰よりも早よ起きて、井戸の水を汲んで、味噌汁を炊いてな。「あんた、はよ食べなはれ」て言うて、わしらが食べ終わるまで自分は箸もつけへんねん。
ばってん、隣のじいさまは違うたとよ。あん人は焼酎ば飲みながら「よかよか」ち言うて、いっちょん働かんかったもんね。ほいでも、みんなに好かれとったけん、葬式にはようけ人が集まったとです。んだんだ、東北さ行った叔父っちゃも、わざわざ帰ってきたっけなあ。
""",
    "API documentation with code": """\
## connect() メソッド

サーバーに接続し、接続オブジェクトを返します。すでに接続している場合は何もしません。

| 引数 | 型 | 説明 |
|---|---|---|
| host | str | 接続先のホスト名。省略すると localhost になります。 |
| port | int | ポート番号。既定値は 5432 です。 |
| timeout | float | 応答を待つ秒数。0 を渡すと無期限に待ちます。 |

```python
import client

with client.connect(host="db.example.com", port=5432, timeout=3.0) as connection:
    for row in connection.execute("SELECT id, name FROM users WHERE age >= 20"):
        print(row.id, row.name)
```

接続に失敗すると `ConnectionError` が発生します。再試行の方法については、次の節を参照してください。
""",
    "a table in Markdown": """\
主な山の高さを次の表に示す。いずれも国土地理院の資料による。

| 順位 | 山名 | 標高 | 所在地 |
|-----:|------|-----:|--------|
| 1 | 富士山 | 3776m | 山梨県・静岡県 |
| 2 | 北岳 | 3193m | 山梨県 |
| 3 | 奥穂高岳 | 3190m | 長野県・岐阜県 |
| 4 | 間ノ岳 | 3190m | 山梨県・静岡県 |
| 5 | 槍ヶ岳 | 3180m | 長野県・岐阜県 |

富士山は独立した火山であり、ほかの四つの山は南アルプスと北アルプスに属する。三位と四位の山は同じ高さである。
間ノ岳の標高は、二〇一四年の改定で一メートル高くなった。これらの山にはいずれも登山道が整備されている。
""",
    "a conversation": """\
「もしもし、聞こえる？」
「うん、聞こえるよ。どうしたの、こんな時間に」
「いや……ちょっと、声が聞きたくなって」
「なにそれ！　気持ち悪いなあ、もう」
「ひどいなあ。せっかく電話したのに」
彼女は笑った。受話器の向こうで、電車の通りすぎる音がする。どうやら駅にいるらしい。
「ねえ、今から行ってもいい？」
「え、今から？　もう十一時だよ？」
「だめ？」
「……だめじゃないけど。夕飯の残りしかないよ。肉じゃがと、冷たいごはん」
「十分だよ。三十分で着く！」
そう言って、電話は切れた。部屋を片づけるには、三十分はあまりにも短い。
""",
    "haiku with notes": """\
古池や蛙飛びこむ水の音　　芭蕉
静けさの中に、ふと聞こえた水の音を詠んだ句である。蛙の声ではなく、飛びこむ音に目を向けたところが新しいとされた。

閑さや岩にしみ入る蝉の声　　芭蕉
山形の立石寺で詠まれた。岩にしみ入るという言い方が、かえって山の静けさを感じさせる。

菜の花や月は東に日は西に　　蕪村
夕暮れの広い野原を、ひと目で見渡すような句である。絵師でもあった蕪村らしい、色の美しい景色だ。

やせ蛙負けるな一茶これにあり　　一茶
蛙の争いを見て詠んだという。弱いものに声をかけるやさしさが、この人の句にはいつもある。
""",
    "a column of katakana computing terms": """\
クラウドサービスのアカウントにログインしたら、ダッシュボードの「プロジェクト」タブをクリックし、リポジトリのインポートを選びます。
デプロイのログはコンソールで確認できます。エラーが表示されたときは、パッケージマネージャーのキャッシュをクリアしてから、ビルドをもう一度実行してください。
コンテナのメモリが足りない場合は、インスタンスのサイズを変更するか、ワーカーの数を減らすと解決することがあります。
ネットワークのファイアウォールでポートがブロックされていないかも、あわせて確かめておきましょう。
""",
}


@pytest.mark.parametrize("what", KEPT_JA)
def test_hard_negatives_are_kept(what: str) -> None:
    assert failed_rules(KEPT_JA[what], "ja") == []


# --- English ------------------------------------------------------------------------------------------------------


def words(count: int, length: int = 5, stop: str = "the of") -> str:
    """So many different words, stop words among them, in sentences of ten on lines of their own."""
    pick = random.Random(5)
    made = stop.split()
    while len(made) < count:
        word = "".join(pick.choices("bcdfgklmnprstvz", k=length))
        made.append(word)
    made = made[:count]
    return "\n".join(" ".join(made[at : at + 10]) + "." for at in range(0, count, 10))


def mean_word(total: int) -> str:
    """50 words of `total` characters altogether; each line of ten ends without a mark, one line in five with one."""
    sizes = [(total - 6) // 48 + (at < (total - 6) % 48) for at in range(48)]
    pick = random.Random(6)
    made = ["the", "and", *("".join(pick.choices("bcdfgklmnprstvz", k=size)) for size in sizes)]
    made[49] = made[49][:-1] + "."
    return "\n".join(" ".join(made[at : at + 10]) for at in range(0, 50, 10))


def alphabetic(numbers: int) -> str:
    made = words(100).split()
    made[2 : 2 + numbers] = [f"{n * 7919 % 90000 + 10000}" for n in range(1, numbers + 1)]
    return " ".join(made) + "."


def endings(count: int, mark: str, other: str) -> str:
    """100 lines, so many of which end in `mark`, the others in `other`."""
    made = words(600).replace(".", "").split()
    return "\n".join(" ".join(made[6 * at : 6 * at + 6]) + (mark if at < count else other) for at in range(100))


def same_english(repeated: int, joint: str) -> str:
    pick = random.Random(7)
    made = [
        " ".join("".join(pick.choices("bcdfgklmnprstvz", k=4)) for _ in range(5)) + "." for _ in range(100 - repeated)
    ]
    made[0] = "that with" + made[0][9:]
    return joint.join(made + made[1 : 1 + repeated])


EN: dict[str, tuple[str, str]] = {
    "too_few_words": (words(50), words(49)),
    "too_many_words": (words(100_000), words(100_001)),
    "garbled": (words(200) + " \ufffd" * 10, words(200) + " \ufffd" * 11),
    "word_length_low": (mean_word(150), mean_word(149)),
    "word_length_high": (mean_word(500), mean_word(501)),
    "few_alphabetic_words": (alphabetic(20), alphabetic(21)),
    "few_stop_words": (words(100, stop="the of"), words(100, stop="the the")),
    "ellipsis_lines": (endings(30, "...", "."), endings(31, "...", ".")),
    "unpunctuated_lines": (endings(12, ".", ""), endings(11, ".", "")),
    "duplicate_lines": (same_english(20, "\n"), same_english(21, "\n")),
    "duplicate_sentences": (same_english(20, " "), same_english(21, " ")),
}


@pytest.mark.parametrize("rule", EN)
def test_english_text_at_the_bound_is_kept_and_beyond_it_fails_this_rule(rule: str) -> None:
    inside, outside = EN[rule]
    assert failed_rules(inside, "en") == []
    # a line that is a sentence cannot repeat without the sentence repeating
    also = ["duplicate_sentences"] if rule == "duplicate_lines" else []
    assert failed_rules(outside, "en") == [rule, *also]


def test_every_english_rule_has_a_text_on_both_sides() -> None:
    assert {rule.name for rule in load_rules("en").rules} == {*EN, "wrong_language"}
    assert failed_rules(words(60), "en", language=0.65) == []
    assert failed_rules(words(60), "en", language=0.6499) == ["wrong_language"]


KEPT_EN = {
    "dialogue": """\
"You never said that," Ann replied. "Not once in all these years."
He looked at the floor, and for a while there was nothing to hear but the clock.
"Well," he said, "perhaps I should have. Would it have changed anything?"
"Everything!" she cried. "It would have changed everything, you fool."
The rain began again, and with it the long evening that neither of them would be able to forget.
""",
    "a manual": """\
Installing the pump

1. Turn off the water and open the lowest tap of the house.
2. Remove the four screws (A) that hold the old pump, and lift it out with both hands.
3. Clean the seat. Do not use petrol or other solvents, which will damage the gasket.
4. Put the new pump in place so that the arrow points to the tank, and tighten the screws to 12 Nm.

If the motor hums but does not turn, have the capacitor checked by an electrician.
""",
}


@pytest.mark.parametrize("what", KEPT_EN)
def test_english_hard_negatives_are_kept(what: str) -> None:
    assert failed_rules(KEPT_EN[what], "en") == []


# --- code ---------------------------------------------------------------------------------------------------------


def code_lines(length: int, extra: int = 0) -> str:
    """Ten lines of so many characters of code, the first one longer by `extra`."""
    made = [f"value_{at} = " + ("compute" * 200)[: length - 10 + (extra if at == 0 else 0)] for at in range(10)]
    return "\n".join(made)


def long_line(length: int) -> str:
    return "x = 1\n" * 20 + "data = '" + "ab" * ((length - 10) // 2) + "c" * (length % 2) + "';"


CODE: dict[str, tuple[str, str]] = {
    "too_short": ("value = 1\n" + "y" * 93, "value = 1\n" + "y" * 92),
    "long_line": (long_line(1000), long_line(1001)),
    "long_lines": (code_lines(100), code_lines(100, extra=1)),
    "few_alphanumeric": ("ab1d" * 25 + "+-*/(){}[];:" * 25, "ab1d" * 24 + "ab1" + "+-*/(){}[];:" * 25 + "="),
}


@pytest.mark.parametrize("rule", CODE)
def test_code_at_the_bound_is_kept_and_beyond_it_fails_this_rule_alone(rule: str) -> None:
    inside, outside = (
        "\n".join(t[at : at + 80] for at in range(0, len(t), 80)) if rule == "few_alphanumeric" else t
        for t in CODE[rule]
    )
    assert failed_rules(inside, "code") == []
    assert failed_rules(outside, "code") == [rule]


def test_every_code_rule_has_a_text_on_both_sides() -> None:
    assert {rule.name for rule in load_rules("code").rules} == set(CODE)


KEPT_CODE = {
    "Python with Japanese comments": """\
def 合計(値):
    # 空のときは 0 を返す
    total = 0
    for v in 値:
        if v is None:
            continue
        total += v  # 欠測は数えない
    return total


if __name__ == "__main__":
    print(合計([1, 2, None, 3]))
""",
    "C with many braces": """\
static int max(const int *a, size_t n) {
    int m = a[0];
    for (size_t i = 1; i < n; ++i) {
        if (a[i] > m) { m = a[i]; }
    }
    return m;
}
int main(void) { int a[] = {1, 2, 3}; return max(a, 3) == 3 ? 0 : 1; }
""",
}


@pytest.mark.parametrize("what", KEPT_CODE)
def test_code_hard_negatives_are_kept(what: str) -> None:
    assert failed_rules(KEPT_CODE[what], "code") == []


# --- deciding -----------------------------------------------------------------------------------------------------


def decide(values: list[list[float]], *rules: Rule) -> list[int]:
    return verdicts(failing(np.array(values, np.float32), ("a", "b"), rules)).tolist()


def test_a_bound_itself_passes() -> None:
    rule = Rule(name="r", signal="a", min=0.1, max=0.3, source="own")
    assert decide([[0.1, 0], [0.3, 0], [0.0999, 0], [0.3001, 0]], rule) == [KEPT, KEPT, 0, 0]


def test_bounds_compare_in_the_precision_signals_are_stored_in() -> None:
    rule = Rule(name="r", signal="a", max=0.1, source="own")
    assert float(np.float32(0.1)) > 0.1  # as float64 the stored value would lie beyond the bound
    assert decide([[0.1, 0]], rule) == [KEPT]


def test_the_first_failing_rule_in_order_is_the_verdict() -> None:
    rules = [Rule(name=n, signal=n, max=1, source="own") for n in ("b", "a")]
    assert decide([[2, 2], [2, 0], [0, 2], [0, 0]], *rules) == [0, 1, 0, KEPT]


def test_no_rules_keep_everything_and_no_documents_have_no_verdicts() -> None:
    assert decide([[1, 2], [3, 4]]) == [KEPT, KEPT]
    assert verdicts(np.zeros((0, 3), np.bool_)).tolist() == []


def test_a_rule_on_an_unknown_signal_is_refused_with_the_closest_one() -> None:
    rules = RuleSet(
        name="mine", lang="ja", description="", rules=(Rule(name="r", signal="num_char", min=1, source="own"),)
    )
    with pytest.raises(UserError, match=r"rules mine: rule r: unknown signal 'num_char'; did you mean num_chars\?"):
        check_signals(rules, SIGNALS)
    check_signals(rules.model_copy(update={"rules": ()}), SIGNALS)


def test_what_is_not_a_number_fails_every_rule_on_it() -> None:
    low, high = Rule(name="low", signal="a", min=0, source="own"), Rule(name="high", signal="a", max=9, source="own")
    assert decide([[np.nan, 0]], low) == decide([[np.nan, 0]], high) == [0]
    judged = judge(np.array([[np.nan, 0]], np.float32), ("a", "b"), [high.model_copy(update={"severities": (10, 20)})])
    assert (judged.first.tolist(), judged.severity.tolist()) == ([0], [3])
    assert np.isnan(judged.value[0])


@pytest.mark.parametrize(
    ("fields", "values", "severities"),
    [
        ({"min": 200, "severities": (100, 50)}, [200, 199, 100, 99, 50, 49], [0, 1, 1, 2, 2, 3]),
        ({"max": 0.2, "severities": (0.4,)}, [0.2, 0.3, 0.4, 0.41], [0, 1, 1, 2]),
        ({"min": 1, "max": 2}, [0, 1, 2, 3], [1, 0, 0, 1]),
    ],
)
def test_severity_is_how_many_bounds_a_document_is_beyond(
    fields: dict[str, Any], values: list[float], severities: list[int]
) -> None:
    rule = Rule(name="r", signal="a", source="own", **fields)
    judged = judge(np.array([[value, 0] for value in values], np.float32), ("a", "b"), [rule])
    assert judged.severity.tolist() == severities
    assert [first == KEPT for first in judged.first] == [severity == 0 for severity in severities]
    dropped = [value for value, severity in zip(values, severities, strict=True) if severity]
    assert judged.value[judged.first != KEPT].tolist() == np.float32(dropped).tolist()
    assert np.isnan(judged.value[judged.first == KEPT]).all()
