"""The words that plants and fillers are made of: names, things that can stand for one another, synonyms."""

_GIRLS = """
Aaliyah Abigail Adriana Agnes Aisha Alejandra Alexandra Alicia Amara Amelia Amina Anastasia Angela Anita Anya Astrid
Beatrice Bella Bianca Brenda Bridget Camila Carla Carmen Caroline Catalina Celeste Chiara Chloe Christina Clara
Claudia Daniela Daphne Deborah Diana Dolores Edith Elena Eliza Elsa Emily Esther Eva Fatima Fiona Florence Francesca
Freya Gabriela Gloria Greta Hannah Harriet Heidi Helena Imani Ingrid Irene Isabel Jasmine Joanna Josephine Julia
Kamila Karen Katarina Keisha Kiara Lakshmi Larissa Layla Leila Lena Lillian Linda Lorena Louisa Lucia Madison Malia
Margaret Mariana Marlene Martha Matilda Maya Meera Melissa Mila Miriam Monica Nadia Naomi Natalia Nina Noor Octavia
Olga Olivia Paloma Patricia Paula Petra Phoebe Priya Rachel Rebecca Renata Rosalind Roxana Sabrina Samantha Sandra
Sarah Selma Shreya Sofia Stella Susanna Svetlana Sylvia Tabitha Tamara Tatiana Teresa Thandi Ursula Valentina Vanessa
Vera Veronica Victoria Wanda Wilma Xiomara Yasmin Yolanda Yuki Zara Zoe
"""
GIRLS = tuple(_GIRLS.split())
_BOYS = """
Aaron Abdul Adrian Ahmed Alberto Alejandro Alfred Amir Andre Andrew Anton Arjun Arthur Benjamin Bernard Boris Brandon
Bruno Caleb Cameron Carlos Cedric Cesar Charles Chen Claude Clement Connor Curtis Damian Daniel Darius David Derek
Diego Dmitri Dominic Douglas Edgar Eduardo Edward Elijah Emil Enrique Eric Ernest Ethan Eugene Felix Fernando Francis
Frederick Gabriel Gareth George Gerald Gilbert Gregory Gustav Hamza Harold Harvey Hassan Hector Henry Hiroshi Hugo
Ibrahim Igor Isaac Ivan Jacob Jamal James Javier Jeremy Jerome Joel Jonas Joseph Joshua Julian Kareem Karl Keith Kenji
Kevin Kofi Kwame Lamar Laurence Leonard Leroy Liam Lorenzo Louis Lucas Malik Manuel Marcus Mario Martin Mateo Matthew
Maurice Maxwell Miguel Mohammed Nathan Nelson Nicholas Nikolai Oliver Omar Oscar Otto Patrick Paul Pedro Peter Philip
Quentin Rafael Raj Ramon Raymond Ricardo Robert Roland Ruben Rupert Samuel Sanjay Santiago Sebastian Sergio Simon
Stefan Stephen Sven Tariq Theodore Thomas Timothy Tobias Tomas Umar Victor Vikram Vincent Walter Wesley William
Winston Xavier Yusuf Zachary
"""
BOYS = tuple(_BOYS.split())
# Names of the real sets that are not in the lists above: known as names, not given to anyone.
_MORE_GIRLS = """
Alice Amy Ann Anna Anne Ava Barbara Betty Candice Cathy Cindy Claire Cynthia Dana Donna Ella Ellen Emma Gail Gina
Gretchen Helen Hillary Jade Jane Janet Jean Jen Jenna Jennifer Jenny Jessica Jill Joan Joy Joyce Judy Julie Kate Kathy
Katie Kelly Kim Kimberly Kylie Lara Laura Lauren Leah Lily Lisa Lucy Lydia Mandy Maria Marie Marissa Mary Megan
Melanie Meredith Mia Michelle Molly Nancy Natalie Nicole Olivia Pam Penny Polly Rosa Ruby Ruth Sally Sara Shawna
Sherry Siobhan Sophia Stephanie Sue Susan Suzanne Suzy Tanya Tara Tina Toula Tracy Wendi Wendy
"""
MORE_GIRLS = tuple(_MORE_GIRLS.split())
_MORE_BOYS = """
Adam Alan Albert Alex Allen Andy Anthony Ben Billy Bob Brad Brian Carl Charlie Chad Chris Clark Colin Craig Dale Dan
Darrell Dave Dean Dennis Don Donald Earl Eddie Fred Gary Glen Gordon Greg Gunter Gus Harry Ian Ivan Jake Jason Jeff
Jerry Jesse Jim Jimmy Joe John Johnny Johnson Jordan Jose Josh Juan Justin Ken Kenny Kyle Larry Lee Leo Lloyd Luke
Michael Mike Mitchell Neil Noah Patrick Ralph Randy Richard Rick Ricky Rob Roger Ron Roy Russell Ryan Sam Scott Sean
Shawn Steve Steven Ted Terry Tim Todd Tom Tommy Tony Travis Trevor Tyler Wayne
"""
MORE_BOYS = tuple(_MORE_BOYS.split())

# Each line holds things that can stand for one another in a story: singular and plural.
KINDS = tuple(
    tuple(tuple(pair.split("/")) for pair in line.split())
    for line in """
apple/apples pear/pears peach/peaches mango/mangoes plum/plums lemon/lemons banana/bananas melon/melons
cookie/cookies muffin/muffins cupcake/cupcakes doughnut/doughnuts brownie/brownies pancake/pancakes
book/books notebook/notebooks magazine/magazines comic/comics newspaper/newspapers
pencil/pencils pen/pens crayon/crayons eraser/erasers
dog/dogs cat/cats rabbit/rabbits hamster/hamsters parrot/parrots
cow/cows sheep/sheep goat/goats pig/pigs horse/horses donkey/donkeys
chicken/chickens duck/ducks turkey/turkeys pigeon/pigeons
marble/marbles sticker/stickers stamp/stamps coin/coins button/buttons shell/shells
shirt/shirts hat/hats scarf/scarves sweater/sweaters jacket/jackets
car/cars truck/trucks van/vans bus/buses motorcycle/motorcycles
tulip/tulips daisy/daisies lily/lilies orchid/orchids
chair/chairs bench/benches stool/stools sofa/sofas
potato/potatoes tomato/tomatoes carrot/carrots onion/onions cucumber/cucumbers pepper/peppers
candle/candles lamp/lamps lantern/lanterns
balloon/balloons kite/kites ribbon/ribbons flag/flags
sandwich/sandwiches burger/burgers pizza/pizzas salad/salads
necklace/necklaces bracelet/bracelets brooch/brooches
doll/dolls puzzle/puzzles robot/robots kazoo/kazoos
""".strip().splitlines()
)

NUMBER_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10",
    "eleven": "11", "twelve": "12", "fifteen": "15", "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50",
}  # fmt: skip

# What to look for (a regular expression, whole words) and what may stand in its place.
SYNONYMS = tuple(
    tuple(line.split(" | "))
    for line in r"""
buys | purchases
bought | purchased
altogether | in total | in all
in total | altogether | overall
in all | altogether | in total
(have|has) left | \1 remaining
(?:are|is) left over | remain over
are left(?= ?[?.,]) | remain
every (?=day|week|month|morning|evening|year|night|hour) | each
per (?=day|hour|week|month|year|minute) | each | every
per (?=kilogram|pound|meter|liter|dozen|person) | for each | for every
wants to | would like to | wishes to
want to | would like to | wish to
needs to | has to | must
decides to | chooses to
decided to | chose to
plans to | intends to
is able to | can
was able to | managed to
gave | handed
received | got
receives | gets
began | started
begins | starts
starts | begins
started | began
finished | completed
large | big
big | large
kids | children
children | kids
mom | mother
dad | father
trip | journey | outing
store | shop
earns | makes
earned | made
costs (?=\$) | is priced at | sells for
cost (?=\$\d[\d.,]* each) | were priced at
(\$\d[\d.]*) each | \1 apiece
How much money | What amount of money
How many (?!did|do|does|of|more|are|is|was|were|people were|can|has|have|had|will|in|times) | What number of
How far (?=do|did|will) | What distance
How long (?=do|did|will) | How much time
How old is (\w+)(?= ?\?) | What is \1's age
such that | so that | with the property that
Given that | Knowing that | Given the fact that
greatest (?!common) | largest
largest | greatest
smallest | least
(?<!at )least (?=positive|possible) | smallest
distinct | different
different | distinct
at random(?= from) | randomly
randomly chosen | chosen at random
randomly selected | picked at random
probability | chance
Express your answer | Give your answer | Write the answer | State your result
Express | Write
Enter | Give | State
is equal to | equals
equals | is equal to
exactly | precisely
Then | After that
However, | But
because | since
approximately | about | roughly
rest of | remainder of
collected | gathered
collects | gathers
amount of | quantity of
currently | at present
initially | at first | to begin with
usually | normally
normally | usually
mph | miles per hour
miles per hour | mph
kilometers | kilometres | km
meters | metres
centimeters | centimetres | cm
liters | litres
color | colour
colors | colours
colored | coloured
center | centre
favorite | favourite
neighbors | neighbours
neighborhood | neighbourhood
movie | film
movies | films
apartment | flat
vacation | holiday
students | pupils
student | pupil
minutes | mins
divided into | split into
equally | evenly
evenly | equally
doesn't | does not
don't | do not
didn't | did not
What's | What is
can't | cannot
there are | we have
There are | We have | One finds
total number of | overall number of | full number of
total cost | overall cost | full price
total amount | overall amount
profit | gain
Suppose | Assume
Assume | Suppose
Define | Set
Consider | Look at | Take
intersect at | meet at
intersects | meets
Simplify | Reduce to simplest form:
If (?=\w+ (?:has|is|was|had|wants|sells|buys|bought|gives|takes|makes|eats|pays)) | Given that | Assuming that
as well as | and also
while | whereas
goes to | heads to
went to | headed to
friends | pals | buddies
weighs | has a weight of
contains | holds
consists of | is made up of
turn out to be | prove to be
thrown away | discarded
sent back | returned
arrive | come in
sets aside | puts away | saves
satisfy | fulfil
satisfies | fulfils
vertices | corners
has (?=\$\d) | owns
had (?=\$\d) | owned
need (?=\d) | require
puts | places
makes (?=\$) | earns
lives in | resides in
little (?=\w+s) | small
money | cash
Every day, | Each day,
next (?=day|week|month|year|two|three|\d) | following
additional | extra
extra | additional
fewer than | less than
discount | reduction
half of the | half the
person | individual
during | in the course of
until | till
another (?=\d) | a further
positive integer | positive whole number
positive integers | positive whole numbers
integers | whole numbers
real numbers | reals
sum of | total of
graph of | plot of
line segment | segment
is divided by | gets divided by
the following | this
Find all | Determine all | List all
Find (?!all) | Determine | Work out | Compute
Compute | Calculate | Work out
Determine | Find | Work out
Evaluate | Compute | Work out the value of
Simplify the following | Bring the following into simplest form
written as | expressed as
expressed as | written as
relatively prime | coprime
In the diagram | In the figure
perpendicular to | at right angles to
smallest possible | least possible
largest possible | greatest possible
how many (?!did|do|does|of|more|are|is|was|were|people were|can|has|have|had|will|in|times) | what number of
how much money | what amount of money
the same number of | equally many
for each | for every
buy | purchase
gets | receives
picked | gathered
works for | is employed by
spent (?=\$) | laid out
at a rate of | at the rate of
at the rate of | at a rate of
If each | Given that each | Supposing each
""".strip().splitlines()
)
