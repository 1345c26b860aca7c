"""Who works there: seats that sell, the people who sat in them, their skills, and the ladder above them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from orchestration.demo.frames import NONE, Floats, Frames, Ints, add_months, words

REGIONS = ["Americas", "EMEA", "APAC"]
SEGMENTS = ["SMB", "Mid-Market", "Enterprise", "Strategic"]
ROLES = [
    "account_executive",
    "account_manager",
    "manager",
    "executive",
    "development_rep",
    "customer_success",
    "specialist",
    "sales_ops",
    "product",
]
AE, AM, MANAGER, EXECUTIVE, SDR, CSM, SPECIALIST, OPS, PRODUCT = range(len(ROLES))
TEAM_REGION = np.array([0, 1, 0, 2, 1, 0, 2, 1, 0])
SEAT_SEGMENT = np.array([0, 1, 2, 0, 1, 2, 3])
FIRST_NAMES = (
    "Ada Amir Anna Arjun Aylin Bao Beatriz Boris Camila Chen Dalia Darius Diego Elena Emeka Esra Fatima Felix "
    "Freya Gael Hana Henrik Ines Ivan Jamal Jonas Julia Kamal Keiko Lars Leila Lucia Luka Malik Maren Marta "
    "Mei Milan Nadia Nils Noor Olga Omar Paula Pedro Priya Rafael Rosa Samir Selma Sven Tariq Teresa Tomas "
    "Uma Vera Viktor Wanda Yara Zoe"
).split()
LAST_NAMES = (
    "Abe Adler Almeida Bakker Banerjee Barros Becker Berg Bianchi Castro Chowdhury Clark Costa Dahl Diallo "
    "Duarte Eriksen Farah Ferrari Fischer Garcia Haddad Hansen Hoang Hoffmann Iqbal Ivanov Jansen Kaya Keller "
    "Khan Kim Kowalski Larsen Laurent Lopez Mbeki Meyer Moreau Mori Nagy Nguyen Novak Okafor Olsen Ortiz Park "
    "Patel Petrov Reyes Rossi Sato Schmidt Silva Singh Tanaka Torres Usman Vega Weber Yilmaz Zhang"
).split()

# What one planted trait does to a seller, and nobody else: the factor it touches is the only one it touches.
WEAK = {
    "weak_activity": ("activity", 0.55),
    "weak_creation": ("creation", 0.50),
    "weak_win_rate_at_solution": ("win_at_solution", -1.6),
    "weak_deal_size": ("size", 0.55),
    "weak_landing": ("landing", 0.25),
}
TEMPERS = {"optimist": 1.35, "sandbagger": 0.70, "steady": 1.0}
RAMP_MONTHS = 3.2
FAST_RAMP_MONTHS = 0.8
SLOW_RAMP_MONTHS = 15.0


@dataclass
class People:
    """Everybody, a row a person, and who sat where when.

    Skills multiply: 1 is the norm; `win` and `win_at_solution` are added to the log odds of passing a stage.
    """

    first_id: int
    seat: Ints
    role: Ints
    region: Ints
    segment: Ints
    level: Ints
    hired_on: Ints
    left_on: Ints
    trait: list[str]
    activity: Floats
    creation: Floats
    win: Floats
    win_at_solution: Floats
    size: Floats
    landing: Floats
    temper: Floats
    ramp_months: Floats
    # Of each seat: role, segment, and its team by stretch of time.
    seat_role: Ints
    seat_segment: Ints
    seat_team: Ints
    seat_team_later: Ints
    reorganised_on: int
    # Who sits in a seat from a day on; the team's manager while it is empty.
    stay_seat: Ints
    stay_from: Ints
    stay_person: Ints
    stay_is_vacant: np.ndarray
    team_manager: Ints
    team_manager_later: Ints
    manager_changed_on: int
    changed_team: int
    team_head: Ints
    team_region: Ints
    rescuing_team: int
    coaching_team: int
    helpers: dict[str, Ints] = field(default_factory=dict)

    @property
    def seats(self) -> int:
        return len(self.seat_role)

    @property
    def teams(self) -> int:
        return len(self.team_region)

    def team_of(self, seat: Ints, day: Ints | int) -> Ints:
        """The team of a seat on a day: a re-organisation moved some."""
        return np.where(np.asarray(day) >= self.reorganised_on, self.seat_team_later[seat], self.seat_team[seat])

    def manager_of(self, team: Ints, day: Ints | int) -> Ints:
        """The manager of a team on a day."""
        later = np.asarray(day) >= self.manager_changed_on
        return np.where(later, self.team_manager_later[team], self.team_manager[team])

    def stay(self, seat: Ints, day: Ints) -> Ints:
        """The row of `stay_…` that holds on a day; on days before the first one, the first."""
        keys = self.stay_seat * 10**6 + self.stay_from
        at = np.searchsorted(keys, np.asarray(seat) * 10**6 + np.asarray(day), side="right") - 1
        first = np.searchsorted(self.stay_seat, seat, side="left")
        return np.maximum(at, first)

    def owner(self, seat: Ints, day: Ints) -> Ints:
        """The person who answers for a seat on a day: who sits there, or the manager while it is empty."""
        return self.stay_person[self.stay(seat, day)]

    def ramp(self, person: Ints, day: Ints | int) -> Floats:
        """What share of a settled seller's new business a person makes after so much time in the job."""
        months = np.maximum((np.asarray(day) - self.hired_on[person]) / 30.4, 0.0)
        return 1.0 - np.exp(-(((months + 0.7) / self.ramp_months[person]) ** 1.3))


def make_people(rng: np.random.Generator, division: int, size: float, start: int, until: int) -> People:
    """Draws the sellers, their managers and their helpers from `start`, some of whom came long before it."""
    seats = max(8, round(60 * size))
    teams = max(2, round(9 * size))
    seat_role = np.where(np.arange(seats) % 4 == 3, AM, AE)
    seat_segment = SEAT_SEGMENT[np.arange(seats) % len(SEAT_SEGMENT)]
    seat_team = np.arange(seats) % teams
    team_region = TEAM_REGION[np.arange(teams) % len(TEAM_REGION)]
    later = seat_team.copy()
    for seat in range(4, seats, 10):
        same = np.flatnonzero(team_region == team_region[seat_team[seat]])
        later[seat] = same[(np.searchsorted(same, seat_team[seat]) + 1) % len(same)]

    # Planted sellers sit where a settled account executive sits and stay to the end.
    executives = rng.permutation(np.flatnonzero((seat_role == AE) & (np.arange(seats) >= 2)))
    times = 2 if len(executives) >= 40 else 1
    # An expert where many deals are won, so that it is not one large one.
    executives = executives[np.argsort(seat_segment[executives] != 1, kind="stable")]
    executives = np.concatenate([executives[:2], rng.permutation(executives[2:])])
    wanted = ["expert", "leader"] + [*WEAK] * times
    seat_trait = dict(zip(executives.tolist(), wanted, strict=False))
    farmers = np.flatnonzero(seat_role == AM)
    seat_trait[int(farmers[-1])] = "misfit"
    # A temper shows where much is called each quarter, and little hangs on one deal.
    seat_trait.update(zip(rng.permutation(farmers[:-1]).tolist(), [*TEMPERS] * times, strict=False))

    rows: list[tuple[int, int, int, int, str]] = []  # seat, role, hired, left, trait
    promoted_seat = 0
    promoted_on = start + 1100
    for seat in range(seats):
        hired = start - int(rng.integers(600, 2600))
        stays = seat in seat_trait
        tenure = rng.exponential(4.2 * 365)
        left = NONE if stays else int(max(start + 150, start + tenure))
        if seat == promoted_seat:
            left = promoted_on
        rows.append((seat, int(seat_role[seat]), hired, NONE if left > until else left, seat_trait.get(seat, "")))
        while left != NONE and left <= until:
            hired = left + int(rng.integers(20, 60))
            left = hired + int(max(240, rng.exponential(3.6 * 365)))
            if hired > until:
                break
            rows.append((seat, int(seat_role[seat]), hired, NONE if left > until else left, ""))
    sellers = len(rows)

    def others(role: int, count: int) -> None:
        for _ in range(count):
            rows.append((NONE, role, start - int(rng.integers(600, 2600)), NONE, ""))

    head_count = 2 if teams >= 3 else 1
    helper_counts = {SDR: 6, CSM: 6, SPECIALIST: 10, OPS: 4, PRODUCT: 2}
    others(EXECUTIVE, 1)
    others(MANAGER, head_count + teams)
    for role, count in helper_counts.items():
        others(role, max(2, round(count * size)))
    seat_of = [row[0] for row in rows]
    leaves = [row[3] for row in rows]
    count = len(rows)
    chief = sellers
    heads = sellers + 1 + np.arange(head_count)
    managers = sellers + 1 + head_count + np.arange(teams)
    team_head = heads[np.where(team_region == 0, 0, head_count - 1)]
    changed_team = teams - 1
    promoted = next(i for i in range(sellers) if seat_of[i] == promoted_seat)
    manager_later = managers.copy()
    has_promotion = promoted_on < until - 200
    if has_promotion:
        manager_later[changed_team] = promoted
        leaves[int(managers[changed_team])] = promoted_on
        leaves[promoted] = NONE

    people = People(
        first_id=division * 2_000 + 1,
        seat=np.array(seat_of),
        role=np.array([row[1] for row in rows]),
        region=np.zeros(count, dtype=np.int64),
        segment=np.full(count, NONE),
        level=rng.integers(1, 4, count),
        hired_on=np.array([row[2] for row in rows]),
        left_on=np.array(leaves),
        trait=[row[4] for row in rows],
        activity=np.exp(rng.normal(0, 0.08, count)),
        creation=np.exp(rng.normal(0, 0.08, count)),
        win=rng.normal(0, 0.12, count),
        win_at_solution=np.zeros(count),
        size=np.exp(rng.normal(0, 0.06, count)),
        landing=np.ones(count),
        temper=np.exp(rng.normal(0.03, 0.10, count)),
        ramp_months=RAMP_MONTHS * np.exp(rng.normal(0, 0.30, count)),
        seat_role=seat_role,
        seat_segment=seat_segment,
        seat_team=seat_team,
        seat_team_later=later,
        reorganised_on=int(add_months(until, -30)),
        stay_seat=np.zeros(0, dtype=np.int64),
        stay_from=np.zeros(0, dtype=np.int64),
        stay_person=np.zeros(0, dtype=np.int64),
        stay_is_vacant=np.zeros(0, dtype=bool),
        team_manager=managers,
        team_manager_later=manager_later,
        manager_changed_on=promoted_on if has_promotion else until + 10_000,
        changed_team=changed_team,
        team_head=team_head,
        team_region=team_region,
        rescuing_team=0,
        coaching_team=1,
    )
    people.level[chief] = 7
    people.level[heads] = 6
    people.level[managers] = 5
    sold = people.seat >= 0
    people.region[sold] = team_region[seat_team[people.seat[sold]]]
    people.segment[sold] = seat_segment[people.seat[sold]]
    people.region[managers] = team_region
    others_at = np.flatnonzero(~sold & (people.role > EXECUTIVE))
    people.region[others_at] = np.arange(len(others_at)) % 3
    for person, name in enumerate(people.trait):
        if not name:
            continue
        # Planted in one thing only: the norm in every other.
        people.activity[person] = people.creation[person] = people.size[person] = people.temper[person] = 1.0
        people.win[person] = 0.0
        if name in WEAK:
            factor, value = WEAK[name]
            getattr(people, factor)[person] = value
        elif name in TEMPERS:
            people.temper[person] = TEMPERS[name]
        elif name == "expert":
            people.win[person], people.size[person] = 0.60, 1.40
        elif name == "leader":
            people.win[person] = 0.10
        elif name == "misfit":
            people.win[person] = -1.2
    _plant_ramps(rng, people, start, until)
    _seat_stays(people, until)
    people.helpers = {
        "chief": np.array([chief]),
        "heads": heads,
        "development": np.flatnonzero(people.role == SDR),
        "success": np.flatnonzero(people.role == CSM),
        "specialists": np.flatnonzero(people.role == SPECIALIST),
        "operations": np.flatnonzero(people.role == OPS),
        "product": np.flatnonzero(people.role == PRODUCT),
    }
    for place, person in enumerate(people.helpers["specialists"]):
        people.trait[person] = (
            "helpful_specialist" if place % 5 in (0, 1) else "slow_specialist" if place % 5 == 4 else ""
        )
    people.trait[managers[people.rescuing_team]] = "rescuing_manager"
    people.trait[managers[people.coaching_team]] = "coaching_manager"
    return people


def _plant_ramps(rng: np.random.Generator, people: People, start: int, until: int) -> None:
    """Of the account executives hired with time to ramp, some are fast and some are slow."""
    hired = np.flatnonzero(
        (people.role == AE)
        & (people.hired_on > start + 60)
        & (people.hired_on < until - 400)
        & ((people.left_on == NONE) | (people.left_on > people.hired_on + 400))
    )
    hired = rng.permutation(hired)
    share = max(1, len(hired) // 4)
    for person in hired[:share]:
        people.trait[person], people.ramp_months[person] = "fast_ramp", FAST_RAMP_MONTHS
    for person in hired[share : 2 * share]:
        people.trait[person], people.ramp_months[person] = "slow_ramp", SLOW_RAMP_MONTHS


def _seat_stays(people: People, until: int) -> None:
    stays: list[tuple[int, int, int, bool]] = []
    sellers = np.flatnonzero(people.seat >= 0)
    for person in sellers:
        seat = int(people.seat[person])
        stays.append((seat, int(people.hired_on[person]), int(person), False))
        left = int(people.left_on[person])
        if left == NONE and person in people.team_manager_later:
            left = people.manager_changed_on
        if left != NONE and left <= until:
            team = people.team_of(np.array([seat]), left)
            stays.append((seat, left, int(people.manager_of(team, left)[0]), True))
    stays.sort()
    people.stay_seat = np.array([row[0] for row in stays])
    people.stay_from = np.array([row[1] for row in stays])
    people.stay_person = np.array([row[2] for row in stays])
    people.stay_is_vacant = np.array([row[3] for row in stays])


def people_frames(people: People, until: int) -> Frames:
    """`users` and `user_roles`: a row for every day on which somebody's job changed."""
    count = len(people.seat)
    person = np.arange(count)
    is_new_manager = np.isin(person, people.team_manager_later) & (people.seat >= 0)
    steps = []
    for months in (0, 26, 52):
        day = people.hired_on if months == 0 else add_months(people.hired_on, months)
        steps.append(pd.DataFrame({"person": person, "day": day}))
    moved = (people.seat >= 0) & (people.seat_team != people.seat_team_later)[np.maximum(people.seat, 0)]
    new_boss = (people.seat >= 0) & (people.seat_team_later[np.maximum(people.seat, 0)] == people.changed_team)
    steps.append(pd.DataFrame({"person": person[moved], "day": people.reorganised_on}))
    steps.append(pd.DataFrame({"person": person[new_boss | is_new_manager], "day": people.manager_changed_on}))
    jobs = pd.concat(steps).drop_duplicates().sort_values(["person", "day"], kind="stable")
    who = jobs["person"].to_numpy()
    day = jobs["day"].to_numpy()
    left = np.where(people.left_on[who] == NONE, 10**6, people.left_on[who])
    kept = (day >= people.hired_on[who]) & (day < left) & (day <= until)
    who, day = who[kept], day[kept]

    promoted = is_new_manager[who] & (day >= people.manager_changed_on)
    seat = np.maximum(people.seat[who], 0)
    team = people.team_of(seat, day)
    sells = (people.seat[who] >= 0) & ~promoted
    manager = np.full(len(who), int(people.helpers["chief"][0]))
    manager[sells] = people.manager_of(team[sells], day[sells])
    leads = np.isin(who, people.team_manager) | promoted
    own_team = np.full(len(who), NONE)
    for index in range(people.teams):
        own_team[(who == people.team_manager[index]) | (promoted & (who == people.team_manager_later[index]))] = index
    manager[leads] = people.team_head[own_team[leads]]
    helps = people.role[who] > EXECUTIVE
    manager[helps] = people.helpers["heads"][who[helps] % len(people.helpers["heads"])]
    manager[who == people.helpers["chief"][0]] = NONE
    steps_up = (day - people.hired_on[who]) // 780
    roles = np.where(promoted, MANAGER, people.role[who])
    level = np.where(roles <= AM, np.minimum(people.level[who] + steps_up, 4), np.where(promoted, 5, people.level[who]))
    region = np.where(sells, people.team_region[team], people.region[who])
    region = np.where(leads, people.team_region[np.maximum(own_team, 0)], region)
    region = np.where((roles == EXECUTIVE) | np.isin(who, people.helpers["heads"]), NONE, region)
    team_names = [f"{REGIONS[people.team_region[index]]} {index + 1}" for index in range(people.teams)]
    named_team = np.where(sells, team, np.where(leads, own_team, NONE))
    attributes = {
        "role": words(roles, ROLES),
        "level": level,
        "manager_id": np.where(manager == NONE, NONE, manager + people.first_id),
        "team": words(named_team, team_names),
        "region": words(region, REGIONS),
        "segment": words(np.where(sells, people.segment[who], NONE), SEGMENTS),
    }
    job_rows = pd.DataFrame(
        {
            "known": np.maximum(day, people.hired_on[who]),
            "user_id": who + people.first_id,
            "effective_from": day,
            **attributes,
        }
    )
    names = _names(people.first_id - 1 + person)
    name_of = names[who]
    current = pd.DataFrame(
        {
            "known": day,
            "user_id": who + people.first_id,
            "name": name_of,
            "email": pd.Series(name_of).str.lower().str.replace(" ", ".", regex=False).to_numpy(dtype=object)
            + "@meridian.example",
            **attributes,
            "hired_on": people.hired_on[who],
            "terminated_on": np.full(len(who), NONE),
            "is_active": np.ones(len(who), dtype=bool),
        }
    )
    last = current.drop_duplicates("user_id", keep="last")
    gone_on = people.left_on[last["user_id"].to_numpy() - people.first_id]
    gone = last[gone_on != NONE].copy()
    gone["known"] = gone["terminated_on"] = gone_on[gone_on != NONE]
    gone["is_active"] = False
    users = stack_by_known([current, gone])
    return {"users": users, "user_roles": job_rows.sort_values("known", kind="stable").reset_index(drop=True)}


def stack_by_known(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Versions of rows in the order in which they became known."""
    return pd.concat(frames).sort_values("known", kind="stable").reset_index(drop=True)


def _names(numbers: Ints) -> np.ndarray:
    """Names that do not repeat before every pair has been used."""
    first, last = len(FIRST_NAMES), len(LAST_NAMES)
    turn = numbers // first
    head = np.array(FIRST_NAMES, dtype=object)[numbers % first]
    tail = np.array(LAST_NAMES, dtype=object)[(numbers * 7 + turn * 5) % last]
    return head + " " + tail


def truth_people(people: People) -> pd.DataFrame:
    """Every planted trait of a person, with what it does."""
    planted = [person for person, name in enumerate(people.trait) if name]
    names = [people.trait[person] for person in planted]
    effect = []
    for person, name in zip(planted, names, strict=True):
        if name in WEAK:
            effect.append(WEAK[name][1])
        elif name in TEMPERS:
            effect.append(people.temper[person])
        elif name.endswith("ramp"):
            effect.append(people.ramp_months[person])
        elif name in ("expert", "leader", "misfit"):
            effect.append(people.win[person])
        else:
            effect.append(np.nan)
    at = np.array(planted, dtype=np.int64)
    return pd.DataFrame(
        {
            "user_id": at + people.first_id,
            "trait": pd.Categorical(names),
            "factor": pd.Categorical([WEAK[name][0] if name in WEAK else None for name in names]),
            "effect": np.array(effect),
            "hired_on": people.hired_on[at],
        }
    )
