"""The words that drawings and captions are made of, and the grammar that joins them."""

from collections.abc import Sequence
from random import Random


def _pairs(text: str) -> dict[str, str]:
    """The entries "key: value" of a text that are parted by semicolons."""
    pairs = (entry.split(":") for entry in text.replace("\n", " ").split(";"))
    return {key.strip(): value.strip() for key, value in pairs}


def _words(text: str) -> dict[str, list[str]]:
    """The entries "key: word word" of a text that are parted by semicolons."""
    return {key: words.split() for key, words in _pairs(text).items()}


# what is measured: its unit ("n" for a plain count)
MEASURES = _pairs("""
rainfall: mm; temperature: °C; sales: k$; revenue: M$; profit: k$; visitors: k; population: M;
energy use: GWh; web traffic: k; website latency: ms; memory use: MB; error rate: %; unemployment: %;
inflation: %; house prices: k$; rent: $; exports: t; imports: t; crop yield: t; wheat harvest: t;
fish catch: t; water level: m; snowfall: cm; wind speed: km/h; humidity: %; air pollution: ppm;
carbon emissions: Mt; electricity price: ct; oil price: $; stock price: $; budget: k$; expenses: k$;
tax income: M$; downloads: k; subscribers: k; page views: k; newsletter sign-ups: n;
support tickets: n; defects: n; orders: n; returns: n; shipping cost: $; patients: n; hospital beds: n;
vaccinations: k; births: n; heart rate: bpm; weight: kg; height: cm; calories: kcal; steps walked: k;
hours of sleep: h; exam scores: pts; students: n; books read: n; library loans: n; goals scored: n;
race times: s; ticket sales: k; tourism: k; hotel bookings: n; flights: n; train passengers: k;
traffic accidents: n; car sales: k; bicycle trips: k; coffee consumption: kg; tea exports: t;
sugar intake: g; milk production: kl; wine production: hl; forest area: km²; bird sightings: n;
bee colonies: n; earthquakes: n; solar output: kW; battery charge: %; accuracy: %; training loss: nats;
throughput: rps; customer satisfaction: pts; survey answers: n; wages: $; working hours: h;
job openings: n
""")
# what it is split by: the names
CATEGORIES = _words("""
month: Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec;
weekday: Mon Tue Wed Thu Fri Sat Sun;
quarter: Q1 Q2 Q3 Q4;
season: spring summer autumn winter;
city: Paris London Tokyo Cairo Lima Oslo Rome Delhi Berlin Madrid Nairobi Sydney Toronto Seoul;
country: France Spain India Brazil Kenya Japan Norway Egypt Chile Canada Italy Peru Ghana Poland;
fruit: apples pears plums grapes lemons cherries mangos bananas;
animal: cats dogs birds fish horses rabbits cows sheep;
department: sales support design legal finance research marketing;
sport: football tennis swimming running cycling rowing hockey;
subject: maths history physics art music biology chemistry;
energy source: coal gas wind solar hydro nuclear oil;
vehicle: cars buses trains bikes trucks planes ships;
programming language: Python Java Rust Go C Ruby Swift;
product: shoes hats shirts coats bags socks watches;
drink: coffee tea water juice milk wine beer;
age group: 0-9 10-19 20-29 30-39 40-49 50-59 60+;
team: red blue green gold north south;
crop: wheat rice maize barley oats soy potatoes;
expense: rent food travel health clothes leisure savings
""")
_FULL_NAMES = _pairs("""
Jan: January; Feb: February; Mar: March; Apr: April; May: May; Jun: June; Jul: July; Aug: August;
Sep: September; Oct: October; Nov: November; Dec: December; Mon: Monday; Tue: Tuesday; Wed: Wednesday;
Thu: Thursday; Fri: Friday; Sat: Saturday; Sun: Sunday
""")
# what a page, a diagram or a network is about: the words that belong to it
TOPICS = _words("""
volcanoes: lava ash magma crater eruption rock; gardening: soil seed plant water compost shed;
cooking: recipe oven salt butter flour pan; astronomy: planet star orbit telescope galaxy comet;
banking: account loan interest deposit credit transfer;
medicine: doctor patient dose clinic nurse symptom; football: goal match player referee league pass;
sailing: wind sail anchor harbour rudder crew; machine learning: data model training loss batch label;
search engines: query index crawler ranking document link;
online shopping: basket order payment parcel customer refund;
history of Rome: emperor senate legion road temple law;
climate change: carbon warming glacier ocean policy forest; bees: hive honey pollen queen flower swarm;
chess: king queen rook pawn opening mate; music theory: note chord scale rhythm melody key;
photography: lens light camera shutter focus print;
railways: station track signal ticket platform engine; bread baking: dough yeast oven crust flour loaf;
databases: table row key query index backup; software testing: unit test build release bug report;
network security: firewall server password attack packet log;
dinosaurs: fossil bone egg tail predator herd; coffee: bean roast grinder cup aroma filter;
space travel: rocket launch crew capsule orbit landing;
human heart: blood valve artery pulse vein muscle; solar energy: panel battery sun inverter grid roof;
libraries: book shelf reader loan catalogue archive; oceans: wave tide coral whale current salt;
language learning: word grammar lesson teacher accent practice;
job applications: letter interview salary employer skill offer;
weather: cloud storm front wind pressure rain; architecture: arch column tower beam window roof;
butterflies: wing caterpillar cocoon leaf pattern garden;
farming: field tractor harvest barn cow fence; travel plans: flight hotel map museum passport train;
school rules: pupil homework break lesson uniform teacher;
healthy eating: fruit vegetable protein sugar meal vitamin;
electric cars: battery charger motor range brake plug;
contracts: party clause payment term notice liability;
user accounts: login password profile email session logout;
hiring: advert screening interview offer contract start;
water cycle: evaporation cloud rain river sea vapour;
manufacturing: order material machine inspection packing delivery;
chemistry: acid base salt reaction molecule flask; philosophy: mind truth reason ethics self knowledge
""")
_PLURALS = {"scissors", "stars", "mountains", "clouds", "trees", "birds", "flowers"}
_IRREGULAR = _pairs("""
scissors: pairs of scissors; fish: fish; person: people; glass of water: glasses of water; cactus: cacti;
snowman: snowmen
""")
COUNTS = ("two", "three", "four", "five", "six")


def any_measure(rng: Random) -> tuple[str, str]:
    """A measure and its unit."""
    return rng.choice(list(MEASURES.items()))


def any_labels(rng: Random, kind: str, least: int, most: int) -> list[str]:
    """Names of one category: a sample, or a run where they have an order."""
    names = CATEGORIES[kind]
    n = min(rng.randint(least, most), len(names))
    if kind in {"quarter", "season"}:
        return names
    if kind in {"month", "weekday", "age group"}:
        start = rng.randint(0, len(names) - n)
        return names[start : start + n]
    return rng.sample(names, n)


def any_topic(rng: Random) -> tuple[str, list[str]]:
    """A topic and its words in any order."""
    topic = rng.choice(list(TOPICS))
    return topic, rng.sample(TOPICS[topic], len(TOPICS[topic]))


def full_name(label: str) -> str:
    """The name that a label stands for: January for Jan."""
    return _FULL_NAMES.get(label, label)


def capital(text: str) -> str:
    """`text` with a capital first letter."""
    return text[0].upper() + text[1:]


def article(words: str) -> str:
    """`words` after "a" or "an"; plural words are left alone."""
    return words if words.split()[-1] in _PLURALS else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def listing(words: Sequence[str]) -> str:
    """Words joined as "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(name: str) -> str:
    """The plural of an object's name."""
    if name.endswith("fly"):
        return name[:-1] + "ies"
    ending = "es" if name.endswith(("s", "x", "ch", "sh")) else "s"
    return _IRREGULAR.get(name, name + ending)
