"""Short pages of one template, for near_duplicates.py: few of them duplicates, all of them alike.

Product pages, weather reports, store lists and forum signatures of 100 to 600 characters that differ by names and
numbers. All texts are made up here.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

NAMES = ["佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤", "吉田", "山田", "松本", "井上"]
TOWNS = ["札幌市", "仙台市", "金沢市", "名古屋市", "高松市", "福岡市", "那覇市", "長野市", "松江市", "宮崎市", "弘前市"]
STREETS = ["本町", "中央", "駅前通り", "桜ヶ丘", "緑町", "港南", "旭町", "新栄", "大手門", "八幡町", "若葉台"]
GOODS = [
    "折りたたみ傘",
    "陶器の湯のみ",
    "木製の椅子",
    "革の財布",
    "登山用リュック",
    "羽毛布団",
    "南部鉄器の急須",
    "珪藻土マット",
]
COLOURS = ["紺", "生成り", "えんじ", "深緑", "白", "黒", "からし色", "うす紫", "桜色", "灰色"]
SKIES = ["晴れ", "くもり", "雨", "晴れ時々くもり", "くもり一時雨", "雪", "くもりのち晴れ", "雨のちくもり"]
HOBBIES = ["写真", "釣り", "盆栽", "鉄道模型", "自転車", "将棋", "手芸", "山歩き", "天体観測", "家庭菜園"]

Slot = Callable[[random.Random], str]
Part = str | Slot


def one_of(words: Sequence[str]) -> Slot:
    """A slot that one of the words fills."""
    return lambda rng: rng.choice(words)


def number(low: int, high: int) -> Slot:
    """A slot for a number."""
    return lambda rng: str(rng.randint(low, high))


def product() -> list[Part]:
    """A page of a shop."""
    return [
        *("【", one_of(COLOURS), "】", one_of(GOODS), " 品番", number(1000, 9999), "\n価格：", number(800, 39800)),
        *("円（税込）　在庫：", number(1, 60), "点\n", "当店の商品は職人が一つ一つ手作業で仕上げています。"),
        *("サイズは幅", number(10, 90), "センチ、高さ", number(10, 90), "センチです。"),
        *("ご注文から", number(2, 9), "日以内に", one_of(TOWNS), "の倉庫より発送いたします。\n"),
        *(
            "返品は商品到着後",
            number(5, 14),
            "日以内にご連絡ください。",
            "お客様のご都合による返品の送料はご負担願います。\n",
        ),
        *(
            "レビュー：",
            one_of(NAMES),
            "様「",
            one_of(COLOURS),
            "の色合いがとても気に入りました。毎日使っています。」\n",
        ),
        *(
            "レビュー：",
            one_of(NAMES),
            "様「届くまで",
            number(2, 9),
            "日かかりましたが、丁寧な梱包で満足しています。」\n",
        ),
        *("お支払いは銀行振込、代金引換、各種カードをご利用いただけます。", "ギフト包装も承ります。"),
        *("店長の", one_of(NAMES), "より：季節の変わり目に、", one_of(GOODS), "もあわせていかがでしょうか。"),
        *("電話でのお問い合わせは平日の", number(9, 11), "時から", number(15, 18), "時まで受け付けております。"),
    ]


def weather() -> list[Part]:
    """A weather report."""
    parts: list[Part] = [number(1, 12), "月", number(1, 28), "日の", one_of(TOWNS), "の天気\n"]
    for day in ("今日", "明日", "明後日", "週末"):
        parts += [day, "は", one_of(SKIES), "、最高気温は", number(-2, 36), "度、最低気温は", number(-9, 27), "度、"]
        parts += ["降水確率は", number(0, 10), "0パーセントの見込みです。", "風は", one_of(["北", "南", "東", "西"])]
        parts += ["の風、波の高さは", number(1, 4), "メートルでしょう。\n"]
    return [*parts, "空気が乾燥していますので、火の取り扱いにご注意ください。", "次の発表は", number(5, 18), "時です。"]


def stores() -> list[Part]:
    """A list of branches."""
    parts: list[Part] = ["店舗一覧\n"]
    for _ in range(9):
        parts += [
            one_of(TOWNS),
            one_of(STREETS),
            "店　",
            number(1, 9),
            "丁目",
            number(1, 30),
            "番",
            number(1, 20),
            "号　",
        ]
        parts += ["営業時間 ", number(8, 11), "時から", number(18, 23), "時まで　駐車場", number(2, 90), "台\n"]
    return parts


def signature() -> list[Part]:
    """A post with a long signature."""
    return [
        *(one_of(NAMES), "です。返信ありがとうございます。", number(2, 30), "日に届いた件、了解しました。\n"),
        *("----------\n", one_of(TOWNS), "在住、趣味は", one_of(HOBBIES), "と", one_of(HOBBIES), "です。\n"),
        *("投稿数：", number(1, 9999), "　登録日：20", number(10, 26), "年", number(1, 12), "月\n"),
        *("この掲示板では質問の前に過去の記事を検索してください。", "誹謗中傷や宣伝はご遠慮ください。\n"),
        *("使用機材：", one_of(GOODS), "、", one_of(GOODS), "、型番", number(100, 999), "\n"),
        *("座右の銘は「継続は力なり」。", one_of(HOBBIES), "の記録を毎週", number(1, 7), "回ほど更新しています。\n"),
        *("オフ会の幹事は", one_of(NAMES), "さんと", one_of(NAMES), "さん、次回は", one_of(TOWNS), "の予定です。\n"),
        *("参加費は", number(10, 60), "00円、定員は", number(5, 40), "名、締め切りは", number(1, 28), "日です。"),
    ]


KINDS = {"product": product, "weather": weather, "stores": stores, "signature": signature}


def make_pages(kind: str, pages: int, seed: int) -> list[str]:
    """Pages of one kind: families of a page and its variants, in which few slots are filled anew."""
    rng = random.Random(f"{kind} {seed}")
    template = KINDS[kind]()
    made: list[str] = []
    while len(made) < pages:
        length = rng.randint(100, 600)
        filled = [part if isinstance(part, str) else part(rng) for part in template]
        sizes = list(itertools.accumulate(map(len, filled)))
        last = next((n + 1 for n, size in enumerate(sizes) if size >= length), len(filled))
        slots = [n for n in range(last) if not isinstance(template[n], str)]
        for _ in range(rng.randint(1, 6)):
            page = filled[:last]
            for n in rng.sample(slots, min(len(slots), rng.choice([0, 1, 1, 2, 3, 5, 8]))):
                slot = template[n]
                assert not isinstance(slot, str)
                page[n] = slot(rng)
            made.append("".join(page))
    return made[:pages]
