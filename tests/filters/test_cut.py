"""Line-wise corrections on literal pages: what is cut, what stays, and that nothing else changes."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.config import UserError
from corpuskit.filters.cut import PIECE, SIGNALS, Cut, cut_column, vocabulary
from corpuskit.text.normalize import normalize_text
from corpuskit.text.shadow import shadow_column

PROSE = "駅前の喫茶店で、祖父の古い手帳を読み返した。\n雨はまだ降っている。"
ENGLISH = "The committee met on Tuesday and read the minutes of the last meeting.\nNobody objected to them."


def cut(*texts: str, lines: str = "ja") -> Cut:
    return cut_column(pa.array(texts, pa.string()), lines)


def after(text: str, lines: str = "ja") -> str:
    return cut(text, lines=lines).texts[0].as_py()


def rules_of(text: str, lines: str = "ja") -> list[str]:
    return cut(text, lines=lines).pieces["rule"].to_pylist()


# a line that stands alone between two paragraphs of prose
ANYWHERE = [
    ("counter", "いいね！ 3件"),
    ("counter", "いいね3件"),
    ("counter", "いいね!(12)"),
    ("counter", "コメント（5）"),
    ("counter", "コメント：1,234件"),
    ("counter", "閲覧数：1.2万"),
    ("counter", "コメント(0) | トラックバック(0)"),
    ("counter", "25件のコメント"),
    ("counter", "全120件中 1〜20件を表示"),
    ("account", "ログイン"),
    ("account", "【ログイン】"),
    ("account", "新規会員登録はこちら"),
    ("account", "パスワードをお忘れの方はこちら"),
    ("account", "ログイン / 新規登録"),
    ("cart", "カートに入れる"),
    ("cart", "▶ カートに入れる"),
    ("cart", "ＳＯＬＤ　ＯＵＴ"),
    ("read_more", "続きを読む"),
    ("read_more", "» 続きを読む..."),
    ("read_more", "もっと見る ＞"),
    ("share", "この記事をシェアする"),
    ("share", "Twitterでシェア | Facebookでシェア | LINEで送る"),
    ("pager", "ページの先頭へ戻る"),
    ("pager", "本文へスキップ"),
    ("pager", "サイトマップ"),
    ("posted", "2024年1月5日（金） 12:34"),
    ("posted", "投稿日：2024/01/05"),
    ("posted", "2024年1月 (12)"),
    ("navigation", "ホーム | 会社概要 | お問い合わせ"),
    ("navigation", "ホーム 会社概要 採用情報 アクセス"),
    ("breadcrumb", "ホーム > カテゴリ > 記事の題"),
    ("breadcrumb", "ＴＯＰ ＞ 商品一覧"),
    ("breadcrumb", "トップページ » お知らせ » 2024年 » 夏の営業時間について"),
    ("breadcrumb", "HOME / 製品 / 刃物 / 包丁"),
    ("copyright", "© 2024 例の会社"),
    ("copyright", "Copyright (C) 2001-2024 Rei Inc. All Rights Reserved."),
    ("copyright", "当サイトの文章・画像の無断転載を禁じます。"),
    ("copyright", "記事・写真の無断転載・複製はお断りします"),
    ("copyright", "Rei Shinbun, all rights reserved"),
]

# likewise, but these stay
STAYS = [
    "ログインする方法を説明します。",
    "ログインについて",
    "続きを読むには、右下の矢印を押してください。",
    "いいね3件のために夜更かしをした。",
    "コメント欄が荒れた（5回目）。",
    "カートに入れる商品を選ぶ",
    "ホーム > オプション > 詳細設定 を選択します。",
    "a > b > c",
    "会社概要",  # a heading as well
    "プロフィール",
    "検索",
    "第一条",
    "２",
    "1945",
    "材料",
    "「戻る」",
    "「カートに入れる」",
    "「もっと見る」",
    "# ログイン",
    "## コメント(5)",
    "- ログイン",
    "・カートに入れる",
    "1. ログイン",
    "(3) ログイン",
    "| いいね | 3件 |",
    "    ログイン",
    "\tいいね3件",
    "12:34 東京発",
    "著作権は 2024 年に切れる。",
    "Copyright",
    "無断転載を禁じますという文句は、法律の上では要らない。",
    "人知れぬ恋",
    "削除",  # stands for an article of a statute that was repealed
]


@pytest.mark.parametrize(("rule", "line"), ANYWHERE)
def test_a_line_that_is_cut_between_paragraphs(rule: str, line: str) -> None:
    assert after(f"{PROSE}\n{line}\n{PROSE}") == f"{PROSE}\n{PROSE}"
    assert rules_of(f"{PROSE}\n{line}\n{PROSE}") == [rule]


@pytest.mark.parametrize("line", STAYS)
def test_a_line_that_stays_between_paragraphs(line: str) -> None:
    text = f"{PROSE}\n{line}\n{PROSE}"
    result = cut(text)
    assert result.texts[0].as_py() == text
    assert result.signals.tolist() == [[0.0, 0.0]]


ENGLISH_ANYWHERE = [
    ("counter", "3 likes"),
    ("counter", "1,024 Comments"),
    ("counter", "12.5k views"),
    ("counter", "Showing 1-20 of 135 results"),
    ("account", "Sign in"),
    ("account", "SIGN UP"),
    ("sign_in_start", "Sign in to your reader account now"),
    ("cart", "3 items in cart"),
    ("cart", "Add to cart"),
    ("read_more", "Read more..."),
    ("read_more", "Continue reading →"),
    ("share", "Share this:"),
    ("share", "Share on Facebook"),
    ("share", "Click to share on Twitter (Opens in new window)"),
    ("pager", "Skip to main content"),
    ("posted", "Posted on March 3, 2019"),
    ("navigation", "Home | About Us | Contact Us"),
    ("navigation", "Home About Us Privacy Policy"),
    ("breadcrumb", "Home > Recipes > Soups"),
    ("number", "128"),
    ("copyright", "© 2024 Example Inc."),
    ("copyright", "Copyright 2019 Example Inc. All rights reserved."),
]
ENGLISH_STAYS = [
    "Sign in to the wall of names, he said, and you are lost.",
    "Read more books.",
    "more details.)",
    "like this:",  # the end of a sentence that was wrapped
    "About",
    "Copyright",
    "CHAPTER ONE",
    "Introduction",
    "1998.",
    "3.14 0.1 24",
    "# Sign in",
    "* Sign in",
    "We had 3 likes",
]


@pytest.mark.parametrize(("rule", "line"), ENGLISH_ANYWHERE)
def test_an_english_line_that_is_cut(rule: str, line: str) -> None:
    assert after(f"{ENGLISH}\n{line}\n{ENGLISH}", "en") == f"{ENGLISH}\n{ENGLISH}"
    assert rules_of(f"{ENGLISH}\n{line}\n{ENGLISH}", "en") == [rule]


@pytest.mark.parametrize("line", ENGLISH_STAYS)
def test_an_english_line_that_stays(line: str) -> None:
    assert after(f"{ENGLISH}\n{line}\n{ENGLISH}", "en") == f"{ENGLISH}\n{line}\n{ENGLISH}"


def test_words_that_can_be_headings_go_in_rows_of_three() -> None:
    assert after(f"{PROSE}\n会社概要\nアクセス\n{PROSE}") == f"{PROSE}\n会社概要\nアクセス\n{PROSE}"
    assert after(f"{PROSE}\n会社概要\n\nアクセス\nお知らせ\n{PROSE}") == f"{PROSE}\n\n{PROSE}"


@pytest.mark.parametrize(
    "row",
    [
        "北海道\n東北\n関東\n四国",
        "価格\n1,200円\nサイズ\n30cm\n色\n青\n在庫\nあり",
        "監督\n山田太郎\n写真\n高橋次郎\n広告\n佐藤三郎\nイベント\n田中四郎",
        "開演\n18:30\n第一部\n19:00\n休憩\n19:50\n第二部\n20:10",
        "日本語\n1億2千万\nEnglish\n4億\n中文\n9億",
        "名前\n性別\n電話番号\nメールアドレス\n登録日",
    ],
)
def test_words_of_tables_and_credits_stay_near_sentences(row: str) -> None:
    assert after(f"{PROSE}\n{row}\n{PROSE}") == f"{PROSE}\n{row}\n{PROSE}"
    assert after(f"{PROSE}\n\n{row}") == f"{PROSE}\n\n{row}"


def test_they_go_in_company_and_where_no_sentence_is_near() -> None:
    assert after(f"{PROSE}\nホーム\n設定\n会社概要\n写真\nお知らせ\n{PROSE}") == f"{PROSE}\n{PROSE}"
    assert after("宿を探す\n価格\nサイズ\n色\n空室を見る") == "宿を探す\n空室を見る"
    far = "宿を探すのは楽しい\n" * 3
    assert after(f"{PROSE}\n{far}価格\nサイズ\n色\n{far}{PROSE}") == f"{PROSE}\n{far}{far}{PROSE}"


def test_a_line_that_heads_a_passage_stays() -> None:
    manual = f"{PROSE}\n\nログイン\n社員番号を入れます。\n\nパスワードを忘れた場合\n総務課に電話します。"
    assert after(manual) == manual
    assert after(f"{PROSE}\nログイン\n社員番号を入れます。") == f"{PROSE}\n社員番号を入れます。"
    assert after(f"{PROSE}\n\nログイン\n\n{PROSE}") == f"{PROSE}\n\n{PROSE}"
    assert after(f"{PROSE}\n\n続きを読む\n次の記事の題") == f"{PROSE}\n\n次の記事の題"


def test_at_the_beginning_two_of_them_go_and_one_is_a_title() -> None:
    assert after(f"会社概要\n{PROSE}") == f"会社概要\n{PROSE}"
    assert after(f"ホーム\n会社概要\n{PROSE}") == PROSE


def test_at_the_end_one_of_them_goes() -> None:
    assert after(f"{PROSE}\nホーム") == PROSE


def test_one_word_goes_between_known_lines_only() -> None:
    tags = "カテゴリー\n料理\n旅行\n最近の記事"
    assert after(f"{PROSE}\n{tags}\nタグ\n{PROSE}") == f"{PROSE}\n{PROSE}"
    assert rules_of(f"{PROSE}\n{tags}\nタグ\n{PROSE}").count("one_word") == 2
    # the heading of what follows stays, also right behind a menu
    assert after(f"ホーム\n会社概要\nブログ\nはじめに\n{PROSE}") == f"はじめに\n{PROSE}"
    # of nine lines three known ones are enough
    assert after(f"{PROSE}\n{tags}\n散歩\n映画\n音楽\n写経\nタグ\n{PROSE}") == f"{PROSE}\n{PROSE}"
    # with more than two in three unknown the row is a list of something else
    words = "\n".join(["人参", "大根", "豆腐", "味噌", "砂糖", "塩", "酢"])
    assert after(f"{PROSE}\nメニュー\n{words}\n一覧\nブログ\n{PROSE}") == f"{PROSE}\n{words}\n{PROSE}"


@pytest.mark.parametrize(
    "text",
    [
        "カレー\n材料\nにんじん\n玉ねぎ\n豚肉\n作り方\n切って炒めて煮る。",
        "春\n夏\n秋\n冬\n\nいちめんのなのはな\nいちめんのなのはな",
        "第一条\nこの法律は、公の秩序を守るために定める。\n２\n前項の期間は、十日とする。\n第二条\n削除\n第三条\n削除\n附則",
        "「はい」\n「ええ」\n「検索」\n「ホーム」",
        "東京\n1400\n大阪\n880\n名古屋\n233",
        "1945年8月15日\n戦争が終わった。\n1945年8月16日\n畑に出た。",
        "```\nログイン\nいいね3件\n```\n以上が出力である。",
        "機能\n\n- ログイン\n- 検索\n- 設定\n- お問い合わせ",
        "|検索|ヘルプ|ログイン|\n|-|-|-|\n|設定|通知|ブログ|",
    ],
)
def test_recipes_poems_statutes_speech_tables_diaries_code_and_lists_stay(text: str) -> None:
    assert after(text) == text


def test_a_date_alone_near_the_beginning_goes_and_dates_that_are_headings_stay() -> None:
    assert after(f"雨の日\n2024年1月5日\n{PROSE}") == f"雨の日\n{PROSE}"
    assert rules_of(f"雨の日\n2024年1月5日\n{PROSE}") == ["date"]
    assert after(f"{PROSE}\n2024年1月5日" + f"\n{PROSE}" * 3) == "\n".join([PROSE] * 4)  # behind two lines
    far = "\n".join([PROSE] * 3)
    assert after(f"{far}\n2024年1月5日\n{far}") == f"{far}\n2024年1月5日\n{far}"
    diary = f"2024年1月5日\n{PROSE}\n2024年1月6日\n{PROSE}"
    assert after(diary) == diary
    assert after(f"1月5日\n{PROSE}") == f"1月5日\n{PROSE}"
    assert after(f"雨の日\n令和６年１月５日（金）\n{PROSE}") == f"雨の日\n{PROSE}"


def test_only_the_end_of_a_line_goes_where_the_text_before_it_is_prose() -> None:
    assert after("雨はまだ降っている。続きを読む") == "雨はまだ降っている。"
    assert after("雨はまだ降っている…【続きを読む】") == "雨はまだ降っている…"
    assert after("雨はまだ降っている... もっと見る ≫ 続きを読む") == "雨はまだ降っている..."
    assert after("- 雨はまだ降っている。 続きを読む") == "- 雨はまだ降っている。"
    assert after("It was raining... Read more »", "en") == "It was raining..."
    for text in ("この本の続きを読む", "夜になったら続きを読む", "He told me to read more"):
        assert after(text) == text


def test_line_ends_stay_well_formed() -> None:
    assert after("一行目です。\n\nログイン\n\n二行目です。") == "一行目です。\n\n二行目です。"
    assert after("ログイン\n\n一行目です。\n") == "一行目です。\n"
    assert after("一行目です。\n\nログイン") == "一行目です。"
    assert after("一行目です。\nログイン\n") == "一行目です。\n"
    assert (
        after("一行目です。\n\n\n二行目です。\nログイン\n三行目です。")
        == "一行目です。\n\n\n二行目です。\n三行目です。"
    )
    assert after("ログイン\nカートに入れる") == ""
    assert after("一行目です。\r\nログイン\r\n二行目です。") == "一行目です。\r\n二行目です。"


def test_signals_are_shares_of_lines_and_of_characters() -> None:
    text = "１２３４５６７８９。\n\nいいね！ 3\n十文字の行がここだよ\n……"
    result = cut(text)
    assert SIGNALS == ("cut_line_fraction", "cut_char_fraction")
    assert result.signals[0].tolist() == [1 / 4, 5 / 31]


def test_what_was_cut_is_kept_with_its_place() -> None:
    first, second = f"{PROSE}\n続きを読む\n{PROSE}", "雨…続きを読む\nいいね３件"
    result = cut(first, PROSE, second)
    assert result.pieces.schema.equals(PIECE)
    assert result.pieces.to_pylist() == [
        {"row": 0, "line": 2, "start": 34, "end": 40, "rule": "read_more", "text": "続きを読む\n"},
        {"row": 2, "line": 0, "start": 2, "end": 7, "rule": "read_more_end", "text": "続きを読む"},
        {"row": 2, "line": 1, "start": 7, "end": 13, "rule": "counter", "text": "\nいいね３件"},
    ]


def test_a_column_without_such_lines_is_handed_back() -> None:
    texts = pa.array([PROSE, ""], pa.string())
    result = cut_column(texts, "ja")
    assert result.texts is texts
    assert result.pieces.num_rows == 0 and result.pieces.schema.equals(PIECE)


def test_a_slice_of_a_column_is_read_from_its_own_beginning() -> None:
    texts = pa.array(["ログイン", f"ログイン\n{PROSE}", PROSE], pa.string()).slice(1)
    assert cut_column(texts, "ja").texts.to_pylist() == [PROSE, PROSE]


def test_a_line_of_more_than_100_characters_is_matched_by_a_pattern() -> None:
    for length, goes in ((100, True), (120, True), (161, False)):
        line = "Copyright © 2020 " + "株" * (length - 37) + "All Rights Reserved."
        assert len(line) == length
        assert (after(f"{PROSE}\n{line}\n{PROSE}") == f"{PROSE}\n{PROSE}") == goes, length


def test_an_unknown_language_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match=r"lines: jaa: there are no line-wise corrections .*did you mean ja"):
        vocabulary("jaa")
    with pytest.raises(UserError, match="no line-wise corrections"):
        vocabulary("../ja")


LINES = st.sampled_from(
    [line for _, line in ANYWHERE + ENGLISH_ANYWHERE]
    + STAYS
    + ENGLISH_STAYS
    + [
        "",
        "",
        " ",
        "\u3000",
        "```",
        "2024年1月5日",
        "2024/1/6",
        "ホーム",
        "アクセス",
        "カテゴリー",
        "料理",
        "一二三",
        "123",
        "価格",
        "設定",
        "写真",
        "18:30",
        "雨が降った。",
    ]
    + ["雨はまだ降っている…続きを読む", "ログイン。続きを読む", "㏂㌔㍿…もっと見る", "…続きを読む続きを読む"]
    + ["THE END", "GO AWAY NOW", "FOR SALE"]
)
PAGES = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\n　"])), max_size=25).map(
    lambda lines: "".join(a + b for a, b in lines[:-1]) + "".join(a for a, _ in lines[-1:])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PAGES | st.text(max_size=60), max_size=3), st.sampled_from(["ja", "en"]))
@example(["いいね！ 3件\r\n"], "ja")  # the last character of the shadow stands for two of the text
@example(["ログイン\nﾏｲﾍﾟｰｼﾞ\nﾒﾆｭｰｶﾞ\nｶﾞ"], "ja")
def test_cutting_is_idempotent_reversible_and_gives_the_corrected_shadow(texts: list[str], lines: str) -> None:
    result = cut(*texts, lines=lines)
    again = cut_column(result.texts, lines)
    assert again.texts.to_pylist() == result.texts.to_pylist()
    assert again.pieces.num_rows == 0
    # the pieces, put back, give the texts that were given
    for row, text in enumerate(texts):
        rest, at, whole = result.texts[row].as_py(), 0, ""
        pieces = [p for p in result.pieces.to_pylist() if p["row"] == row]
        for piece in pieces:
            assert piece["text"] == text[piece["start"] : piece["end"]]
            take = piece["start"] - len(whole)
            whole += rest[at : at + take] + piece["text"]
            at += take
        assert whole + rest[at:] == text
        assert result.signals[row].min() >= 0 and result.signals[row].max() <= 1
    fresh = shadow_column(result.texts)
    assert result.shadow.codes.tolist() == fresh.codes.tolist()
    assert result.shadow.offsets.tolist() == fresh.offsets.tolist()
    assert result.shadow.origin.tolist() == fresh.origin.tolist()


@settings(max_examples=100, deadline=None)
@given(PAGES)
def test_what_is_cut_is_the_same_in_every_spelling_and_company(text: str) -> None:
    normal = normalize_text(text)
    assert normalize_text(after(text)) == after(normal)
    assert cut(PROSE, text, "ログイン").texts[1].as_py() == after(text)
