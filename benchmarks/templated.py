"""Short pages of one template: which near-duplicates are found, and what goes that is none.

python benchmarks/templated.py [--pages N] [--seed N] [--peers] [--json FILE]

Makes product pages, weather reports, store lists and forum signatures of 100 to 600 characters that differ by names
and numbers, knows the true Jaccard of every pair (character 5-grams of the text without white space and punctuation),
removes near-duplicates with each preset of corpuskit, and with other tools in the environments of peers.py, and prints
by length class:

    found   of the pairs with Jaccard >= 0.8, those of which at most one page stays
    right   of the pages that went, those with a page that stayed and is like them (Jaccard >= 0.8)
    alien   of the pages that went, those with none above 0.5 that stayed

All texts are made up here.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import PeerFailed, environment

NGRAM, LIKE, ALIEN = 5, 0.8, 0.5
CLASSES = ((100, 200), (200, 350), (350, 601))
PRESETS = ("sharp", "fineweb", "refinedweb", "swallow", "llm-jp")
# as published: word or character shingles, 14 x 8, or HojiChar's own 27 x 18 where it is named
PEERS = {"rensa": "encoders", "hojichar": "hojichar", "hojichar_27x18": "hojichar", "datatrove": "datatrove"}

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


def shingles(text: str) -> frozenset[str]:
    """Character 5-grams of what matters in a text."""
    kept = (c for c in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(c)[0] in "LNM")
    plain = "".join(kept)
    return frozenset(plain[i : i + NGRAM] for i in range(max(1, len(plain) - NGRAM + 1)))


def true_pairs(texts: Sequence[str], groups: Sequence[Sequence[int]]) -> dict[tuple[int, int], float]:
    """The Jaccard of the pairs of one kind that are above ALIEN; pages of two kinds have next to nothing in common."""
    sets = [shingles(t) for t in texts]
    found = {}
    for group in groups:
        for i, j in itertools.combinations(group, 2):
            a, b = sets[i], sets[j]
            if min(len(a), len(b)) > ALIEN * max(len(a), len(b)):
                common = len(a & b)
                similarity = common / (len(a) + len(b) - common)
                if similarity > ALIEN:
                    found[i, j] = similarity
    return found


def score(kept: set[int], texts: Sequence[str], pairs: dict[tuple[int, int], float]) -> list[dict[str, Any]]:
    """The figures of one tool, a row for each length class and one for all; a pair is of its shorter page's class."""
    near: dict[int, float] = {}
    for (i, j), similarity in pairs.items():
        for a, b in ((i, j), (j, i)):
            if b in kept:
                near[a] = max(near.get(a, 0.0), similarity)
    rows = []
    for low, high in (*CLASSES, (0, 1 << 30)):
        like = [(i, j) for (i, j), s in pairs.items() if s >= LIKE and low <= min(len(texts[i]), len(texts[j])) < high]
        gone = [i for i in range(len(texts)) if i not in kept and low <= len(texts[i]) < high]
        rows.append(
            {
                "characters": "all" if low == 0 else f"{low}-{high - 1}",
                "pairs": len(like),
                "found": sum(i not in kept or j not in kept for i, j in like) / max(1, len(like)),
                "gone": len(gone),
                "right": sum(near.get(i, 0.0) >= LIKE for i in gone) / max(1, len(gone)),
                "alien": sum(i not in near for i in gone) / max(1, len(gone)),
            }
        )
    return rows


def corpuskit_kept(preset: str, file: Path, work: Path) -> set[int]:
    """The pages that stay with a preset of corpuskit."""
    import pyarrow.parquet as pq

    from corpuskit.build.files import dedup_files, foreign_shards, plan_dedup_files
    from corpuskit.engine.run import Runner

    plan = plan_dedup_files(foreign_shards([str(file)], "ja", "text", "url"), "ja", {"preset": preset})
    dedup_files(plan, out=work, runner=Runner("local", 1, 0))
    tables = (pq.read_table(f, columns=["url"]) for f in sorted(work.glob("kept/*.parquet")))
    return {int(url) for table in tables for url in table["url"].to_pylist()}


def peer_kept(name: str, file: Path, work: Path) -> set[int]:
    """The pages that stay with another tool, run in its own environment."""
    work.mkdir()
    python = environment(PEERS[name])
    command = [str(python), __file__, "--drive", name, str(file), str(work)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(str(error)) from error
    if done.returncode:
        raise PeerFailed((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1][:200])
    return set(json.loads(done.stdout.splitlines()[-1]))


# The half that runs in a peer's environment: prints the numbers of the pages that stay.


def _rows(file: str) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def drive_rensa(file: str, work: Path) -> list[int]:
    import numpy as np
    from rensa import RMinHash

    texts = [row["text"] for row in _rows(file)]
    sets = [list({t[i : i + NGRAM] for i in range(max(1, len(t) - NGRAM + 1))}) for t in texts]
    matrix = np.asarray(RMinHash.digests_from_token_sets(sets, num_perm=112, seed=42), np.uint32)
    parent = list(range(len(texts)))

    def find(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for band in range(14):
        seen: dict[bytes, int] = {}
        for i, key in enumerate(map(bytes, np.ascontiguousarray(matrix[:, band * 8 : band * 8 + 8]))):
            a, b = find(seen.setdefault(key, i)), find(i)
            parent[max(a, b)] = min(a, b)
    return [i for i in range(len(texts)) if find(i) == i]


def drive_hojichar(file: str, work: Path, bands: int = 14, size: int = 8) -> list[int]:
    from hojichar import Compose, Document
    from hojichar import document_filters as f
    from hojichar.filters.deduplication import GenerateDedupLSH, InlineDeduplicator

    lsh = GenerateDedupLSH(num_bands=bands, band_size=size)
    chain = Compose([f.JSONLoader(extra_keys=["url"]), f.DocumentNormalizer(), lsh, InlineDeduplicator()])
    stream = chain.apply_stream(Document(json.dumps(row)) for row in _rows(file))
    return [int(document.extras["url"]) for document in stream if not document.is_rejected]


def drive_hojichar_27x18(file: str, work: Path) -> list[int]:
    return drive_hojichar(file, work, 27, 18)


def drive_datatrove(file: str, work: Path) -> list[int]:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline import dedup as d
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    (work / "in").mkdir()
    shutil.copy(file, work / "in")
    config = MinhashConfig(num_buckets=14, hashes_per_bucket=8, n_grams=5)
    reader = JsonlReader(str(work / "in"), id_key="url")
    signed, buckets, clusters, out = (str(work / name) for name in ("signed", "buckets", "clusters", "out"))
    steps: list[list[Any]] = [
        [reader, d.MinhashDedupSignature(signed, config=config, language="jpn")],
        [d.MinhashDedupBuckets(signed, buckets, config=config)],
        [d.MinhashDedupCluster(buckets, clusters, config=config)],
        [reader, d.MinhashDedupFilter(clusters), JsonlWriter(out)],
    ]
    for n, (steps_of, tasks) in enumerate(zip(steps, (1, config.num_buckets, 1, 1), strict=True)):
        LocalPipelineExecutor(steps_of, tasks=tasks, workers=1, logging_dir=str(work / f"logs{n}")).run()
    return [int(row["id"]) for path in sorted(Path(out).glob("*.gz")) for row in _rows(str(path))]


def main() -> int:
    """Make the pages, run the tools, print the figures."""
    if sys.argv[1:2] == ["--drive"]:
        print(json.dumps(globals()[f"drive_{sys.argv[2]}"](sys.argv[3], Path(sys.argv[4]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=400, help="pages of each kind (default: 400)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="other tools as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    args = parser.parse_args()
    texts: list[str] = []
    groups = []
    for kind in KINDS:
        made = make_pages(kind, args.pages, args.seed)
        groups.append(range(len(texts), len(texts) + len(made)))
        texts += made
    pairs = true_pairs(texts, groups)
    like = sum(s >= LIKE for s in pairs.values())
    print(f"{len(texts)} pages; pairs with Jaccard >= {LIKE}: {like}, between {ALIEN} and {LIKE}: {len(pairs) - like}")
    print(f"{'tool':20} {'characters':>10} {'pairs':>7} {'found':>7} {'gone':>6} {'right':>7} {'alien':>7}")
    figures = []
    with tempfile.TemporaryDirectory(prefix="corpuskit-templated-") as folder:
        file = Path(folder) / "pages.jsonl.gz"
        with gzip.open(file, "wt", encoding="utf-8") as out:
            for n, text in enumerate(texts):
                out.write(json.dumps({"url": str(n), "text": text}, ensure_ascii=False) + "\n")
        tools = [(f"corpuskit {p}", corpuskit_kept, p) for p in PRESETS]
        tools += [(name, peer_kept, name) for name in PEERS if args.peers]
        for label, run, argument in tools:
            try:
                kept = run(argument, file, Path(folder) / label)
            except PeerFailed as error:
                print(f"{label:20} not measured: {error}")
                continue
            for row in score(kept, texts, pairs):
                figures.append({"tool": label, **row})
                cells = f"{row['characters']:>10} {row['pairs']:7} {row['found']:7.3f} {row['gone']:6}"
                print(f"{label:20} {cells} {row['right']:7.3f} {row['alien']:7.3f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
