"""Stories in plain words that fillers tell: what each gives, what it asks, and its answer."""

from planted.story import Story

_THINGS = """
candle/candles/crate/crates
orange/oranges/basket/baskets
notebook/notebooks/shelf/shelves
marble/marbles/jar/jars
tile/tiles/pallet/pallets
brick/bricks/cart/carts
sticker/stickers/sheet/sheets
muffin/muffins/tray/trays
stamp/stamps/album/albums
bottle/bottles/rack/racks
tulip/tulips/bed/beds
seedling/seedlings/pot/pots
battery/batteries/pack/packs
button/buttons/tin/tins
postcard/postcards/folder/folders
puzzle/puzzles/cabinet/cabinets
screw/screws/drawer/drawers
lantern/lanterns/hamper/hampers
cushion/cushions/van/vans
melon/melons/wagon/wagons
light bulb/light bulbs/carton/cartons
teacup/teacups/cupboard/cupboards
bead/beads/pouch/pouches
magnet/magnets/case/cases
poster/posters/tube/tubes
egg/eggs/nest box/nest boxes
pillow/pillows/trunk/trunks
wheel/wheels/bay/bays
cable/cables/bin/bins
loaf/loaves/oven/ovens
"""
THINGS = tuple(tuple(line.split("/")) for line in _THINGS.strip().splitlines())
_PLACES = """
the harbor market
the school fair
the railway museum
the city library
an apple orchard
the repair shop
the night market
the community garden
a mountain hut
the sports hall
the toy factory
a small bakery
the botanical garden
the ferry terminal
the town hall
an old windmill
the film studio
the veterinary clinic
the music school
a roadside stall
the observatory
the glass workshop
the fire station
a river camp
the post office
the tea house
the animal shelter
an art gallery
the swimming pool
the chess club
"""
PLACES = tuple(_PLACES.strip().splitlines())
SCENES = (
    "{p} helps out at {place} on weekends.", "At {place}, {p} is in charge of the {things}.",
    "{p} and {q} spend the summer working at {place}.", "It has been a busy month at {place}.",
    "{p} keeps a diary of everything that happens at {place}.", "Nobody at {place} knows more about {things} than {p}.",
    "A reporter visits {place} and talks to {p}.", "{p} has just been hired by {place}.",
    "Rain is expected, so {p} starts early.",
    "The manager of {place} asked {p} for a report.", "{q} has taught {p} how things are done at {place}.",
    "Last year {p} moved to a town famous for its {others}.", "For a school project, {p} writes about {place}.",
    "{p} is planning a surprise for {q}.", "There is a sale of {others} near {place}.",
    "Every spring {place} opens its doors again.",
    "{p}'s grandparents used to run {place}.", "When the lights went out at {place}, {p} was still counting.",
    "{q} is away this week and {p} fills in.", "A storm has delayed all deliveries to {place}.",
    "Visitors to {place} often ask {p} about the {things}.", "{p} likes to check every figure twice.",
    "In winter {place} is quiet, which suits {p}.", "Before lunch, {p} sorts out the week's {others}.",
    "Two buses stop in front of {place}, and {p} takes the first.", "{q} bet {p} that the sum could be done mentally.",
    "The mayor has promised new {others} to {place}.", "On the way to {place}, {p} thinks about the day ahead.",
    "{p} wrote this on the back of an old receipt.", "The newsletter of {place} carries a riddle by {p}.",
)  # fmt: skip
DETAILS = (
    "",
    "{Her} cousin, who collects {others}, comes along.",
    "The weather is mild and the windows stand open.",
    "Nothing here is ever left to chance.",
    "{q} makes tea while the work goes on.",
    "Some of the older {others} have been moved to the attic.",
    "A radio plays quietly in the background.",
    "All figures below were checked by {q}.",
    "That is how it has been done since the place was founded.",
    "A list of the {others} hangs on the door, but nobody reads it.",
    "{q} would rather talk about {others}.",
    "Both of them enjoy a puzzle.",
    "The {others} will be dealt with next week.",
    "{p} is in no hurry.",
    "By noon the first visitors are there.",
    "Somebody has painted the doors green.",
    "{She} writes everything on a blackboard.",
    "As always, {q} arrives late.",
    "The dog sleeps under the table.",
    "Afterwards they will have dinner together.",
)

PLAIN = (
    Story(((6, 150), (4, 150), (3, 120)), lambda w: (w["a"] + 60) * w["b"] - w["c"], (
        ("{Her} first job is to fill {a} {boxes} with {b} {things} apiece, and another 60 {boxes} in the same way.",
         "{She} loads {b} {things} into every one of {a} {boxes}, then does 60 further {boxes} just like that.",
         "There are {a} {boxes} with {b} {things} in each, and 60 more {boxes} filled likewise."),
        ("Of all these, {c} {things} turn out to be damaged and are thrown away.",
         "Later, {c} of the {things} are given to {q}.",
         "A customer takes {c} {things} home.", "Then {c} {things} have to be sent back."),
        ("How many {things} remain?", "What number of {things} is left?", "Find how many {things} there are now."))),
    Story(((3, 80), (2, 70), (4, 80), (3, 60)), lambda w: w["a"] * w["b"] + w["c"] * w["d"], (
        ("{p} orders {a} {things} at ${b} each", "{q} pays for {a} {things}, each costing ${b},",
         "One bill lists {a} {things} priced at ${b} apiece"),
        ("as well as {c} {others} for ${d} each.", "and on top of that {c} {others} at a price of ${d}.",
         "together with {c} {others}, ${d} being the price of one."),
        ("What is the total cost in dollars?", "How many dollars does all this come to?",
         "How much has to be paid altogether?", "Find the full amount due."))),
    Story(((2, 40), (30, 130), (3, 50), (20, 120)), lambda w: w["a"] * w["b"] + w["c"] * w["d"], (
        ("A lorry bound for {place} drives for {a} hours at {b} kilometers per hour",
         "A coach first covers ground at {b} km/h during {a} hours",
         "For {a} hours a night train keeps up {b} kilometers an hour"),
        ("and after a stop goes on for {c} hours at {d} kilometers per hour.",
         "before fog slows it to {d} km/h for the next {c} hours.",
         "and then drops or rises to {d} kilometers an hour for {c} more hours."),
        ("How far does it travel in all?", "What distance lies behind it at the end, in kilometers?",
         "Find the length of the whole trip."))),
    Story(((60, 400), (5, 60), (4, 50), (8, 60)), lambda w: w["a"] + w["b"] * w["c"] - w["d"], (
        ("{p} owns ${a} and sets aside ${b} every week.", "With ${a} in the bank, {p} begins to save ${b} a week.",
         "Each week {q} hands ${b} to {p}, who had ${a} at the start."),
        ("After {c} weeks {she} spends ${d} on {things}.",
         "When {c} weeks have passed, a set of {others} is bought for ${d}.",
         "This goes on for {c} weeks; then ${d} goes into a present."),
        ("How many dollars does {p} have then?", "What sum is left in {her} savings?",
         "How much money is there in the end?"))),
    Story(((12, 150), (10, 130), (20, 150)), lambda w: w["a"] * w["b"] - w["c"], (
        ("Behind {place} there is a field with {a} rows of {b} trees.",
         "Trees stand in {a} rows of {b} on the land around {place}.",
         "A grove is laid out in {a} straight rows, {b} trees to a row."),
        ("Exactly {c} of the trees are oaks; all others are birches.", "Apart from {c} oaks, every tree is a birch.",
         "Birches make up the whole of it except for {c} oaks."),
        ("How many birches are there?", "Find the number of birches.", "What is the number of birch trees?"))),
    Story(((4, 150), (6, 140), (3, 100)), lambda w: w["a"] * w["b"] * w["c"], (
        ("A team of {a} people makes {things}.", "{a} machines at {place} turn out {things}.",
         "The workshop where {p} works has {a} benches for making {things}."),
        ("Each produces {b} an hour and keeps going for {c} hours.",
         "In one hour each manages {b}, and the shift lasts {c} hours.",
         "Over a run of {c} hours every one of them completes {b} per hour."),
        ("How many {things} is that in total?", "What is the whole output?", "Find the number of {things} made."))),
    Story(((30, 500), (1, 20), (5, 160)), lambda w: w["a"] * 20 - w["a"] * w["b"] + w["c"], (
        ("{Place} stores {a} score of {things}, a score being 20.",
         "Counting in scores (one score is 20), {p} finds {a} score of {things}.",
         "The stock is {a} score {things}; each score means 20 pieces."),
        ("From every score, {b} are sold, and {c} new {things} arrive.",
         "Then {b} out of each score go to {q}, while {c} fresh ones come in.",
         "A delivery brings {c} more, though {b} of every score were already broken."),
        ("How many {things} are there now?", "What does the stock amount to?",
         "Find the current number of {things}."))),
    Story(((3, 200), (2, 150), (10, 300)), lambda w: w["c"], (
        ("The house of {p} is {a} years older than that of {q}.",
         "The house where {q} lives was built {a} years after {p}'s.",
         "When {q}'s house was put up, {p}'s was exactly {a} years old."),
        ("In {b} years the ages of the houses will add up to {total8}.",
         "Wait {b} years, and together the buildings will be {total8} years old.",
         "The sum of both ages, {b} years from today, is going to be {total8}."),
        ("How old is {q}'s house at present?", "What is the age of {q}'s house now?",
         "Find the present age of the newer house."))),
    Story(((10, 80), (3, 60), (8, 100), (2, 60)), lambda w: w["d"], (
        ("A novel that {p} borrowed has {total9} pages.", "{q} lends {p} a thick book of {total9} pages.",
         "The report on {place} runs to {total9} pages."),
        ("{She} reads {a} pages a day for {b} days, and from then on {c} pages a day.",
         "For {b} days {p} gets through {a} pages daily; afterwards the pace is {c} pages daily."),
        ("How many further days does it take to finish?", "After how many more days is the end reached?",
         "Find the number of days at the second pace."))),
    Story(((20, 90), (2, 19), (30, 200), (6, 70)), lambda w: w["d"], (
        ("A tank beside {place} already contains {c} liters.", "{p} starts with {c} liters of water in a pool.",
         "At dawn {c} liters stand in the cistern."),
        ("A pipe brings {a} liters a minute while {b} liters a minute leak out.",
         "Every minute {a} liters flow in, but {b} liters are lost through a crack."),
        ("How many minutes pass until there are {total10} liters?",
         "When will it hold {total10} liters, in minutes from now?",
         "After what number of minutes does it contain {total10} liters?"))),
    Story(((3, 60), (4, 150), (100, 400)), lambda w: w["c"] + w["a"] * w["c"] - w["b"], (
        ("{p} has collected {c} {things}.", "There are {c} {things} in {p}'s collection.",
         "{c} {things} belong to {p}."),
        ("{q} has {b} fewer than {a} times that number.",
         "Take {a} times as many and remove {b}: that is what {q} has.",
         "If {q} had {b} more, {he} would own exactly {a} times as many."),
        ("How many {things} do they have together?", "What is their joint number of {things}?",
         "Find the total for the two of them."))),
    Story(((10, 99), (3, 40), (42, 120), (3, 60)), lambda w: w["a"] * (w["c"] - w["b"]) * w["d"], (
        ("On a normal day {place} sells {a} {things}.", "{p} sells {a} {things} a day.",
         "Daily sales amount to {a} {things}."),
        ("One of them costs ${b} to make and is sold at ${c}.",
         "The price is ${c}, although making one takes only ${b}.",
         "Each is bought in for ${b} and leaves the counter for ${c}."),
        ("What profit do {d} days bring?", "How many dollars of profit are made in {d} days?",
         "Find the gain over {d} days."))),
    Story(((10, 130), (8, 120), (2, 90)), lambda w: w["a"] * w["b"] + w["c"] * w["a"] * (w["a"] - 1) // 2, (
        ("The stand next to {place} has {a} rows of seats.", "{p} sets up {a} rows of chairs.",
         "In the new theater there are {a} rows."),
        ("The front row has {b} seats, and every row after it has {c} more than the one before.",
         "{b} people fit in the first row; each following row offers {c} extra seats."),
        ("How many seats are there altogether?", "What is the number of seats?",
         "For how many people is there a seat?"))),
    Story(((4, 150), (3, 140), (4, 120)), lambda w: w["b"] * w["c"], (
        ("A recipe for {a} people calls for {b} spoons of honey.",
         "To feed {a} guests, {p} needs {b} spoons of honey.", "{b} spoons of honey go into a dish for {a}."),
        ("A feast for {total14} people is coming up.", "This time {total14} people have announced themselves.",
         "At {place}, {total14} people want to eat."),
        ("How many spoons of honey are needed?", "Find the number of spoons required.",
         "What amount of honey, in spoons, does this take?"))),
    Story(((5, 120), (10, 150), (2, 90)), lambda w: w["a"] * w["b"] + (w["a"] - 1) * w["c"], (
        ("{p} gives {a} talks in a row, each {b} minutes long.",
         "A program consists of {a} films of {b} minutes each.", "{a} lessons of {b} minutes are on the timetable."),
        ("Between two of them there is always a pause of {c} minutes.",
         "A break of {c} minutes separates any two neighbors.",
         "After each but the last, {c} minutes are set aside to rest."),
        ("How many minutes does the whole take?", "What is the length in minutes from beginning to end?",
         "Find the total duration in minutes."))),
    Story(((500, 3000), (13, 60), (10, 120)), lambda w: (w["a"] - w["c"]) % w["b"], (
        ("A supplier brings {a} {things} to {place}.", "{p} counts {a} {things}.", "There is a heap of {a} {things}."),
        ("Once {c} of them are set apart, the others are put into {boxes} of {b}.",
         "{q} takes {c}; the rest is packed {b} to a {box}.",
         "{c} are kept for {q} and as many full {boxes} of {b} as possible are made from the rest."),
        ("How many {things} don't fit into a full {box}?", "What is left over at the end?",
         "Find the number of {things} left unpacked."))),
    Story(((20, 220), (12, 180), (3, 60)), lambda w: 2 * (w["a"] + w["b"]) * w["c"], (
        ("A rectangular yard at {place} is {a} meters long and {b} meters wide.",
         "The sides of {p}'s rectangular meadow measure {a} m and {b} m."),
        ("A fence around it costs ${c} per meter.", "It gets a fence all the way round, at ${c} for each meter.",
         "{q} offers fencing for the whole border at ${c} a meter."),
        ("What is the price of the fence?", "How many dollars does the fence cost?", "Find the cost of fencing."))),
    Story(((6, 80), (5, 80), (4, 50), (7, 90)), lambda w: w["a"] * w["b"] * w["c"] + w["d"], (
        ("The floor of {place} measures {a} meters by {b} meters.",
         "{p} tiles a hall that is {a} meters long and {b} meters wide."),
        ("Every square meter takes {c} tiles, and {d} spare tiles are bought.",
         "One square meter needs {c} tiles; besides, {d} tiles are kept in reserve.",
         "With {c} tiles to the square meter, {d} extra ones are ordered in case of breakage."),
        ("How many tiles are bought?", "Find the size of the order in tiles.",
         "What number of tiles does that make?"))),
    Story(((5, 80), (9, 50), (6, 90), (4, 50)), lambda w: 10000 - w["a"] * w["b"] - w["c"] * w["d"], (
        ("Tickets to {place} are ${b} for adults and ${d} for children.",
         "{Place} charges adults ${b}, children ${d}."),
        ("A party of {a} adults and {c} children pays with 10000 dollars.",
         "{q} leads {a} grown-ups and {c} children and puts down 10000 dollars.",
         "From a budget of 10000 dollars, {p} buys admission for {c} children and {a} adults."),
        ("How much change is due?", "What is left of the money?", "How many dollars come back?"))),
    Story(((30, 200), (40, 230), (2, 80)), lambda w: w["c"], (
        ("Two trains set out toward each other from stations {total20} kilometers apart.",
         "Between the towns of {p} and {q} lie {total20} kilometers; they leave home at the same moment to meet."),
        ("One moves at {a} kilometers per hour, the other at {b} kilometers per hour.",
         "Their speeds are {a} km/h and {b} km/h."),
        ("After how many hours do they meet?", "How long, in hours, until they are at the same spot?",
         "Find the hours that pass before the meeting."))),
    Story(((200, 600), (10, 90), (5, 150)), lambda w: 3 * w["a"] + 2 * w["b"] - w["c"], (
        ("On Monday {place} counted {a} visitors.", "{p} handed out {a} leaflets on the first day.",
         "During the first hour {a} calls came in."),
        ("The second time it was {b} more, and the third time {c} fewer than the second.",
         "Next came a count that was {b} higher, followed by one {c} below that."),
        ("What is the sum of the three counts?", "How many is that over the three times?", "Add up all three."))),
    Story(((1200, 3000), (2, 40), (10, 90)), lambda w: w["a"] + w["b"] * w["c"], (
        ("{p} earns a fixed ${a} a month at {place}.", "The monthly base pay of {p} is ${a}.",
         "For work at {place}, {q} receives ${a} per month."),
        ("Every contract signed brings another ${b}, and this month there were {c}.",
         "On top there is a bonus of ${b} for each of the {c} {things} delivered."),
        ("What are the month's earnings in dollars?", "How much does that make for the month?",
         "Find the whole pay."))),
    Story(((20, 200), (10, 100), (4, 90)), lambda w: w["a"] * (w["b"] + w["c"]), (
        ("The cable car by {place} carried {b} people at a time; the new one has room for {c} more.",
         "The old boat seats {b} passengers, and the boat that {p} steers has {c} seats more.",
         "A coach with {b} seats has been replaced by one with {c} seats more."),
        ("On Sunday the new one makes {a} trips and is full each time.",
         "Always full, the new one runs {a} times today.",
         "{q} notes that the new one left {a} times, never with an empty seat."),
        ("How many people does it carry?", "What number of people is that?", "Find how many were carried in all."))),
)  # fmt: skip
