"""Words the textbook draws from: other names for identifiers, type hints, module names, sentences."""

_SYNONYMS = """
items: items values data seq lst arr elements xs
nums: nums numbers values data xs series
n: n num number limit
text: text s string message line
result: result out output res ret answer
total: total acc result running
count: count cnt counter matches
i: i idx index pos
j: j k other jj
k: k steps shift amount
char: char ch c letter
word: word w token term
words: words tokens parts terms
low: low lo lower start left
high: high hi upper end right
mid: mid middle center m
target: target wanted key needle goal
value: value val x v
x: x num v item value
item: item element value x it
best: best winner top current_best
first: first a left xs one
second: second b right ys two
a: a x first m
b: b y second n2
counts: counts freq table tally
matrix: matrix grid mat m table
row: row line r vec
rows: rows height n_rows
cols: cols width n_cols
key: key name k field
mapping: mapping table d dictionary
size: size length width n
seen: seen visited known found
left: left lo l start
right: right hi r end
stack: stack todo pending
node: node vertex current
other: other neighbour nxt
factors: factors primes found
d: d divisor p
digits: digits parts ds
ordered: ordered sorted_nums ranked
pairs: pairs table entries
prices: prices quotes values
price: price p cost
name: name title label
fields: fields columns cells
limit: limit threshold bound cutoff
groups: groups buckets result
part: part piece chunk
params: params options args_
config: config settings options
scores: scores points_by board
player: player name user
points: points score gain
year: year y
base: base b number
exponent: exponent power exp e
smallest: smallest lowest min_index best
swapped: swapped changed again
current: current running cur
items_: items_
graph: graph edges links
tree: tree root node_
avg: avg mean_value m
window: window block part
balance: balance amount_left funds
capacity: capacity max_size limit
password: password pwd secret
lists: lists groups nested rows
flags: flags is_prime_flag marks
coins: coins denominations
coin: coin c piece
weights: weights ws factors
seconds: seconds secs s
minutes: minutes mins m
hours: hours hrs h
steps: steps count moves
score: score points mark
intervals: intervals ranges spans
percent: percent rate discount
amount: amount value sum_
letters: letters found seen
prefix: prefix pad lead
celsius: celsius degrees temp c
radius: radius r
width: width w
height: height h
age: age years
weight: weight w mass
day: day name
lines: lines rows
"""
SYNONYMS = {
    word: others.split() for word, _, others in (line.partition(":") for line in _SYNONYMS.strip().splitlines())
}
TYPE_HINTS = {
    "items": "list",
    "nums": "list",
    "n": "int",
    "text": "str",
    "matrix": "list",
    "word": "str",
    "words": "list",
    "k": "int",
    "year": "int",
    "size": "int",
    "mapping": "dict",
    "value": "float",
    "low": "float",
    "high": "float",
    "month": "int",
    "price": "float",
    "limit": "float",
    "name": "str",
    "score": "int",
    "lists": "list",
    "prices": "list",
    "seconds": "int",
    "graph": "dict",
    "base": "int",
    "exponent": "int",
}
AFFIXES = "my_{} do_{} {}_of simple_{} {}_impl get_{} {}2 safe_{} {}_values run_{}".split()
MODULES = (
    "calc mathutils utils helpers tools strings lists numbers_ stats text_tools sorting search arrays geometry convert "
    "core functions algo collections_ shapes finance dates parsing words matrix games bank inventory"
).split()
FOLDERS = ("", "", "src/", "app/", "lib/", "pkg/", "demo/", "project/", "mypkg/")
SIBLINGS = (
    "app main cli report store model views settings reader render cache loader schema jobs client server auth routes"
).split()
MODULE_TITLES = (
    "Small helpers",
    "Utility functions",
    "Exercises",
    "Common algorithms",
    "Helper functions for the app",
    "Simple calculations",
    "Text and list tools",
    "Training examples",
)
DOC_TAILS = (
    "Pure Python, no side effects.",
    "Used by the command line tool.",
    "See the tests for examples.",
    "Raises nothing.",
)
