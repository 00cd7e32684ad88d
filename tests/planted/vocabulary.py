"""The words that plants and fillers are made of: names, things that can stand for one another, synonyms."""

GIRLS = tuple(
    """Aaliyah Abigail Adriana Agnes Aisha Alejandra Alexandra Alicia Amara Amelia Amina Anastasia Angela Anita Anya Astrid
    Beatrice Bella Bianca Brenda Bridget Camila Carla Carmen Caroline Catalina Celeste Chiara Chloe Christina Clara Claudia
    Daniela Daphne Deborah Diana Dolores Edith Elena Eliza Elsa Emily Esther Eva Fatima Fiona Florence Francesca Freya
    Gabriela Gloria Greta Hannah Harriet Heidi Helena Imani Ingrid Irene Isabel Jasmine Joanna Josephine Julia Kamila Karen
    Katarina Keisha Kiara Lakshmi Larissa Layla Leila Lena Lillian Linda Lorena Louisa Lucia Madison Malia Margaret Mariana
    Marlene Martha Matilda Maya Meera Melissa Mila Miriam Monica Nadia Naomi Natalia Nina Noor Octavia Olga Olivia Paloma
    Patricia Paula Petra Phoebe Priya Rachel Rebecca Renata Rosalind Roxana Sabrina Samantha Sandra Sarah Selma Shreya Sofia
    Stella Susanna Svetlana Sylvia Tabitha Tamara Tatiana Teresa Thandi Ursula Valentina Vanessa Vera Veronica Victoria
    Wanda Wilma Xiomara Yasmin Yolanda Yuki Zara Zoe""".split()
)
BOYS = tuple(
    """Aaron Abdul Adrian Ahmed Alberto Alejandro Alfred Amir Andre Andrew Anton Arjun Arthur Benjamin Bernard Boris Brandon
    Bruno Caleb Cameron Carlos Cedric Cesar Charles Chen Claude Clement Connor Curtis Damian Daniel Darius David Derek Diego
    Dmitri Dominic Douglas Edgar Eduardo Edward Elijah Emil Enrique Eric Ernest Ethan Eugene Felix Fernando Francis Frederick
    Gabriel Gareth George Gerald Gilbert Gregory Gustav Hamza Harold Harvey Hassan Hector Henry Hiroshi Hugo Ibrahim Igor
    Isaac Ivan Jacob Jamal James Javier Jeremy Jerome Joel Jonas Joseph Joshua Julian Kareem Karl Keith Kenji Kevin Kofi Kwame
    Lamar Laurence Leonard Leroy Liam Lorenzo Louis Lucas Malik Manuel Marcus Mario Martin Mateo Matthew Maurice Maxwell
    Miguel Mohammed Nathan Nelson Nicholas Nikolai Oliver Omar Oscar Otto Patrick Paul Pedro Peter Philip Quentin Rafael Raj
    Ramon Raymond Ricardo Robert Roland Ruben Rupert Samuel Sanjay Santiago Sebastian Sergio Simon Stefan Stephen Sven Tariq
    Theodore Thomas Timothy Tobias Tomas Umar Victor Vikram Vincent Walter Wesley William Winston Xavier Yusuf Zachary""".split()
)
# Names of the real sets that are not in the lists above: known as names, not given to anyone.
MORE_GIRLS = tuple(
    """Alice Amy Ann Anna Anne Ava Barbara Betty Candice Cathy Cindy Claire Cynthia Dana Donna Ella Ellen Emma Gail Gina
    Gretchen Helen Hillary Jade Jane Janet Jean Jen Jenna Jennifer Jenny Jessica Jill Joan Joy Joyce Judy Julie Kate Kathy
    Katie Kelly Kim Kimberly Kylie Lara Laura Lauren Leah Lily Lisa Lucy Lydia Mandy Maria Marie Marissa Mary Megan Melanie
    Meredith Mia Michelle Molly Nancy Natalie Nicole Olivia Pam Penny Polly Rosa Ruby Ruth Sally Sara Shawna Sherry Siobhan
    Sophia Stephanie Sue Susan Suzanne Suzy Tanya Tara Tina Toula Tracy Wendi Wendy""".split()
)
MORE_BOYS = tuple(
    """Adam Alan Albert Alex Allen Andy Anthony Ben Billy Bob Brad Brian Carl Charlie Chad Chris Clark Colin Craig Dale Dan
    Darrell Dave Dean Dennis Don Donald Earl Eddie Fred Gary Glen Gordon Greg Gunter Gus Harry Ian Ivan Jake Jason Jeff
    Jerry Jesse Jim Jimmy Joe John Johnny Johnson Jordan Jose Josh Juan Justin Ken Kenny Kyle Larry Lee Leo Lloyd Luke Michael Mike
    Mitchell Neil Noah Patrick Ralph Randy Richard Rick Ricky Rob Roger Ron Roy Russell Ryan Sam Scott Sean Shawn Steve Steven
    Ted Terry Tim Todd Tom Tommy Tony Travis Trevor Tyler Wayne""".split()
)

# Each line holds things that can stand for one another in a story: singular and plural.
KINDS = tuple(
    tuple(tuple(pair.split("/")) for pair in line.split())
    for line in """
apple/apples pear/pears peach/peaches mango/mangoes plum/plums lemon/lemons banana/bananas melon/melons
cookie/cookies muffin/muffins cupcake/cupcakes doughnut/doughnuts brownie/brownies pancake/pancakes
book/books notebook/notebooks magazine/magazines comic/comics newspaper/newspapers
pencil/pencils pen/pens crayon/crayons marker/markers brush/brushes
dog/dogs cat/cats rabbit/rabbits hamster/hamsters parrot/parrots
cow/cows sheep/sheep goat/goats pig/pigs horse/horses donkey/donkeys
chicken/chickens duck/ducks turkey/turkeys pigeon/pigeons
marble/marbles sticker/stickers stamp/stamps coin/coins button/buttons shell/shells
shirt/shirts hat/hats scarf/scarves sweater/sweaters jacket/jackets
car/cars truck/trucks van/vans bus/buses motorcycle/motorcycles
rose/roses tulip/tulips daisy/daisies lily/lilies orchid/orchids
chair/chairs bench/benches stool/stools sofa/sofas
potato/potatoes tomato/tomatoes carrot/carrots onion/onions cucumber/cucumbers pepper/peppers
candle/candles lamp/lamps lantern/lanterns
balloon/balloons kite/kites ribbon/ribbons flag/flags
sandwich/sandwiches burger/burgers pizza/pizzas salad/salads
necklace/necklaces bracelet/bracelets ring/rings brooch/brooches
doll/dolls puzzle/puzzles robot/robots kazoo/kazoos
""".strip().splitlines()
)
