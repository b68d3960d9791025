"""What can be drawn: objects with their colours, and geometric shapes."""

import re

from unbraid.distill.drawings.outlines import Stroke, read_outline

# name: the colours it may have, the natural one first; then its outlines, each after a dash
_OBJECTS = """
house: red yellow white blue orange grey brown pink
- R .12 .42 .88 1 c; P .02 .42 .5 .05 .98 .42 d; R .42 .66 .58 1 brown; R .2 .54 .34 .7 sky;
  R .66 .54 .8 .7 sky
- R .7 .08 .82 .4 d; R .18 .45 .82 1 c; P .1 .48 .3 .15 .7 .15 .9 .48 brown; R .25 .65 .42 1 d;
  R .55 .6 .75 .8 w
tree: green
- R .44 .6 .56 1 brown; E .12 .02 .88 .68 c
- R .45 .82 .55 1 brown; P .5 0 .78 .4 .22 .4 c; P .5 .2 .86 .62 .14 .62 c; P .5 .4 .95 .85 .05 .85 c
- P .43 1 .46 .5 .54 .5 .57 1 brown; E .05 .25 .55 .7 c; E .45 .25 .95 .7 c; E .25 .02 .75 .5 c
sun: yellow orange
- E .25 .25 .75 .75 c; $rays
- E .2 .2 .8 .8 c; $beams
moon: yellow white grey
- $crescent
- E .1 .1 .9 .9 c; E .3 .25 .48 .43 d; E .55 .5 .7 .65 d; E .3 .62 .4 .72 d
star: yellow red blue orange white pink
- $star5
- $fat5
- $star6
- $star4
heart: red pink purple blue
- $heart
car: red blue green yellow white grey black orange
- P .02 .78 .04 .5 .25 .45 .36 .2 .7 .2 .82 .45 .98 .52 .98 .78 c; P .38 .27 .51 .27 .51 .45 .3 .45 sky;
  P .55 .27 .67 .27 .76 .45 .55 .45 sky; $wheels
- R .02 .4 .98 .76 c; P .1 .4 .2 .12 .9 .12 .96 .4 c; R .2 .2 .5 .4 sky; R .56 .2 .86 .4 sky; $wheels
bus: red yellow blue green orange
- R .02 .15 .98 .78 c; R 0.07 .25 0.22 .45 sky; R 0.27 .25 0.42 .45 sky; R 0.47 .25 0.62 .45 sky;
  R 0.67 .25 0.82 .45 sky; R .86 .25 .98 .45 sky; $wheels
boat: red blue brown white green
- L .5 .72 .5 .02 brown; P .05 .7 .95 .7 .8 .95 .2 .95 c; P .54 .08 .54 .64 .9 .64 white;
  P .46 .16 .46 .64 .16 .64 l
- P .02 .6 .98 .6 .85 .95 .15 .95 c; R .25 .4 .7 .6 white; R .5 .15 .6 .4 d; R .32 .46 .4 .54 sky;
  R .48 .46 .56 .54 sky
mountain: grey blue brown purple
- P 0 1 .5 .08 1 1 c; P .38 .3 .5 .08 .62 .3 .55 .25 .5 .34 .44 .26 white
- P .3 1 .7 .2 1 1 d; P 0 1 .38 .05 .75 1 c; P .28 .28 .38 .05 .48 .28 .38 .22 white
flower: red pink yellow purple white orange blue
- L .5 .4 .5 1 leaf; P .5 .85 .75 .65 .8 .78 leaf; $petals; E .39 .19 .61 .41 yellow
- L .5 .45 .5 1 leaf; P .5 .9 .25 .6 .22 .8 leaf; P .25 .1 .38 .25 .5 .05 .62 .25 .75 .1 .72 .5 .28 .5 c
- T .5 .4 .5 1 leaf; $florets; E .32 .14 .68 .5 brown
cat: orange black grey white brown
- P .2 .45 .2 .05 .45 .25 c; P .8 .45 .8 .05 .55 .25 c; E .15 .2 .85 .9 c; E .3 .42 .42 .56 w;
  E .58 .42 .7 .56 w; E .34 .44 .4 .54 k; E .6 .44 .66 .54 k; P .46 .62 .54 .62 .5 .68 pink;
  L .5 .68 .42 .75 k; L .5 .68 .58 .75 k; L .4 .66 .05 .6 k; L .4 .7 .05 .74 k; L .6 .66 .95 .6 k;
  L .6 .7 .95 .74 k
- A .6 .5 1 .98 -90 110 c; E .26 .42 .76 1 c; P .28 .3 .28 .02 .46 .16 c; P .72 .3 .72 .02 .54 .16 c;
  E .24 .1 .76 .56 c; E .36 .27 .44 .37 w; E .56 .27 .64 .37 w; E .39 .29 .43 .36 k; E .57 .29 .61 .36 k;
  P .46 .4 .54 .4 .5 .45 pink; L .44 .44 .14 .4 k; L .44 .46 .14 .5 k; L .56 .44 .86 .4 k;
  L .56 .46 .86 .5 k
dog: brown white black orange grey
- T .2 .5 .04 .28 c; R .16 .45 .72 .72 c; R .18 .7 .28 1 c; R .58 .7 .68 1 c; R .3 .7 .38 .98 d;
  E .58 .14 .9 .52 c; E .76 .3 1 .5 c; E .92 .32 1 .4 k; P .62 .16 .72 .2 .68 .52 .58 .48 d;
  E .76 .24 .82 .31 k
- E .2 .15 .8 .85 c; P .2 .2 .32 .15 .3 .6 .1 .65 .08 .35 d; P .8 .2 .68 .15 .7 .6 .9 .65 .92 .35 d;
  E .34 .5 .66 .82 l; E .44 .5 .56 .6 k; E .32 .35 .42 .46 k; E .58 .35 .68 .46 k; L .5 .6 .5 .7 k;
  E .45 .7 .55 .9 red
fish: orange blue red yellow green pink
- P .68 .5 .98 .2 .9 .5 .98 .8 c; P .35 .3 .5 .1 .6 .32 d; E .04 .22 .76 .78 c; E .14 .38 .24 .48 w;
  E .17 .41 .22 .46 k; A .2 .3 .4 .7 -60 60 d
bird: blue red yellow brown black green
- P .28 .55 .02 .4 .04 .66 d; L .46 .78 .44 1 orange; L .54 .78 .56 1 orange; E .18 .38 .74 .84 c;
  E .58 .18 .88 .5 c; P .86 .28 1 .36 .86 .4 orange; P .28 .52 .6 .5 .4 .74 d; E .72 .27 .78 .34 k
- P .5 .6 .05 .15 .3 .2 .5 .45 c; P .5 .6 .95 .15 .7 .2 .5 .45 c; E .4 .4 .6 .8 c;
  P .46 .42 .54 .42 .5 .3 orange
person: blue red green black purple
- E .36 .02 .64 .26 skin; P .3 .3 .7 .3 .66 .66 .34 .66 c; T .32 .34 .14 .58 c; T .68 .34 .86 .58 c;
  T .42 .66 .38 1 k; T .58 .66 .62 1 k; E .43 .1 .47 .14 k; E .53 .1 .57 .14 k
- A .36 .02 .64 .28 0 360 k; L .5 .28 .5 .65 k; L .5 .4 .2 .55 k; L .5 .4 .8 .55 k; L .5 .65 .28 1 k;
  L .5 .65 .72 1 k
- E .36 .02 .64 .26 skin; P .5 .24 .82 .8 .18 .8 c; T .4 .4 .18 .5 skin; T .6 .4 .82 .5 skin;
  T .43 .8 .43 1 skin; T .57 .8 .57 1 skin; A .36 0 .64 .26 180 360 brown
cup: white blue red green brown yellow
- A .6 .38 .94 .74 -90 90 c; P .16 .25 .74 .25 .68 .92 .22 .92 c; E .16 .2 .74 .32 d
- A .62 .45 .96 .8 -100 100 c; R .12 .35 .76 .95 c; A .3 .05 .44 .3 90 270 grey; A .5 .05 .64 .3 90 270 grey
apple: red green yellow
- E .08 .25 .6 .96 c; E .4 .25 .92 .96 c; L .5 .34 .54 .06 brown; P .54 .2 .72 .04 .84 .12 .68 .24 leaf
banana: yellow
- P .1 .3 .2 .28 .35 .55 .6 .68 .9 .6 .94 .68 .7 .86 .4 .82 .18 .6 c; P .08 .22 .18 .2 .2 .28 .1 .3 brown
balloon: red blue yellow green pink purple orange
- E .2 0 .8 .66 c; P .44 .72 .5 .64 .56 .72 c; L .5 .72 .46 .84 .54 .92 .5 1 k; E .32 .12 .42 .28 l
clock: white red blue yellow black
- E .04 .04 .96 .96 c; E .12 .12 .88 .88 white; $hours; L .5 .5 .5 .22 k; L .5 .5 .68 .6 k;
  E .47 .47 .53 .53 k
key: yellow grey brown
- E .02 .3 .42 .7 c; E .12 .4 .32 .6 white; R .4 .46 .98 .54 c; R .8 .54 .86 .72 c; R .9 .54 .96 .68 c
umbrella: red blue purple yellow green black
- L .5 .05 .5 .88 k; A .5 .78 .66 .98 0 180 k; S .04 .12 .96 1 180 360 c; L .5 .12 .35 .56 d;
  L .5 .12 .65 .56 d
ladder: brown grey red yellow
- T .28 0 .28 1 c; T .72 0 .72 1 c; L .28 0.12 .72 0.12 c; L .28 0.28 .72 0.28 c; L .28 0.44 .72 0.44 c;
  L .28 0.6 .72 0.6 c; L .28 0.76 .72 0.76 c; L .28 0.92 .72 0.92 c
book: blue red green brown purple
- P .02 .2 .5 .3 .98 .2 .98 .84 .5 .94 .02 .84 c; P .06 .2 .48 .3 .48 .88 .06 .78 white;
  P .94 .2 .52 .3 .52 .88 .94 .78 white; L .12 .34 .42 .41 grey; L .12 .48 .42 .55 grey;
  L .12 .62 .42 .69 grey; L .88 .34 .58 .41 grey; L .88 .48 .58 .55 grey; L .88 .62 .58 .69 grey
- R .18 .05 .84 .95 c; R .18 .05 .28 .95 d; R .38 .2 .74 .36 white; L .42 .28 .7 .28 k
ball: red blue orange green yellow
- E .06 .06 .94 .94 c; A .06 .3 .94 .7 0 180 w; A .3 .06 .7 .94 90 270 w
- E .06 .06 .94 .94 c; S .06 .06 .94 .94 200 290 l; S .06 .06 .94 .94 20 110 l
bicycle: red blue green black
- A 0 .45 .4 .9 0 360 k; A .6 .45 1 .9 0 360 k; L .2 .68 .36 .32 .7 .32 .5 .68 .2 .68 c; L .36 .32 .5 .68 c;
  L .68 .22 .8 .68 c; L .28 .26 .42 .26 k; L .6 .2 .74 .22 k
train: red green blue black
- R .05 .4 .6 .75 c; R .58 .15 .95 .75 c; R .66 .22 .88 .42 sky; R .14 .15 .26 .4 d; E .08 .7 .28 .95 k;
  E .36 .7 .56 .95 k; E .66 .7 .86 .95 k; E .1 0 .22 .12 grey
airplane: white grey blue red
- P .42 .5 .2 .95 .34 .95 .66 .5 d; P .05 .42 .8 .38 .98 .5 .8 .58 .1 .56 c;
  P .08 .44 0 .15 .14 .15 .26 .44 d; P .46 .42 .3 .1 .42 .1 .64 .42 l; E .78 .42 .88 .5 sky
rocket: red white blue grey
- P .3 .7 .1 .95 .32 .88 d; P .7 .7 .9 .95 .68 .88 d; P .38 .85 .5 1 .62 .85 orange;
  P .5 0 .7 .3 .7 .85 .3 .85 .3 .3 c; E .4 .34 .6 .54 sky
mushroom: red brown orange
- P .38 .5 .62 .5 .68 1 .32 1 white; S .05 .08 .95 1.04 180 360 c; E .24 .25 .38 .38 w; E .5 .16 .64 .29 w;
  E .66 .36 .78 .48 w
butterfly: orange blue yellow purple pink
- E .02 .08 .48 .55 c; E .52 .08 .98 .55 c; E .1 .48 .48 .92 d; E .52 .48 .9 .92 d; E .45 .2 .55 .85 k;
  L .48 .22 .38 .02 k; L .52 .22 .62 .02 k
snowman: white
- E .2 .5 .8 1 c; E .28 .22 .72 .62 c; E .34 0 .66 .32 c; P .5 .16 .72 .2 .5 .22 orange; E .42 .1 .46 .14 k;
  E .54 .1 .58 .14 k; E .48 .36 .52 .4 k; E .48 .46 .52 .5 k; L .3 .4 .02 .25 brown; L .7 .4 .98 .25 brown
cactus: green
- T .5 .1 .5 1 c; T .5 .65 .22 .65 .22 .35 c; T .5 .5 .78 .5 .78 .2 c; R .44 .08 .56 1 c
lamp: yellow red blue white
- P .3 .08 .7 .08 .9 .5 .1 .5 c; T .5 .5 .5 .9 k; E .25 .86 .75 1 k
envelope: white yellow red blue
- R .02 .2 .98 .82 c; L .02 .2 .5 .56 .98 .2 k; L .02 .2 .98 .2 .98 .82 .02 .82 .02 .2 k
hat: black red brown blue
- R .26 .1 .74 .75 c; R .26 .58 .74 .7 l; E .02 .66 .98 .86 c
cake: pink brown white
- R .1 .45 .9 .95 c; R .1 .45 .9 .58 w; R .3 .2 .35 .45 blue; R .48 .2 .53 .45 red; R .66 .2 .71 .45 green;
  E .29 .08 .36 .2 orange; E .47 .08 .54 .2 orange; E .65 .08 .72 .2 orange
gift: red blue green purple pink
- R .1 .4 .9 .98 c; R .04 .28 .96 .44 d; R .44 .28 .56 .98 yellow; E .24 .06 .5 .28 yellow;
  E .5 .06 .76 .28 yellow
flag: red blue green yellow orange
- T .15 0 .15 1 brown; P .18 .05 .95 .08 .8 .3 .95 .52 .18 .5 c
ice cream: pink brown white yellow green
- P .25 .45 .75 .45 .5 1 orange; E .2 .08 .8 .58 c
- P .28 .5 .72 .5 .5 1 brown; E .18 .3 .54 .6 c; E .46 .3 .82 .6 l; E .3 .06 .7 .42 d
pencil: yellow red blue green
- R .02 .42 .74 .58 c; P .74 .42 .98 .5 .74 .58 skin; P .91 .47 .98 .5 .91 .53 k; R .02 .42 .1 .58 pink
chair: brown red blue black
- T .25 .05 .25 1 c; R .22 .5 .8 .6 c; T .77 .55 .77 1 c; R .22 .08 .32 .5 c; R .22 .05 .3 .45 d
glass of water: blue
- P .18 .05 .82 .05 .72 .97 .28 .97 w; P .21 .35 .79 .35 .72 .95 .28 .95 sky;
  L .18 .05 .28 .97 .72 .97 .82 .05 c
scissors: grey red blue
- T .3 .62 .75 .04 grey; T .7 .62 .25 .04 grey; A .06 .58 .44 .98 0 360 c; A .56 .58 .94 .98 0 360 c
cloud: white grey
- E .02 .4 .4 .85 c; E .22 .15 .66 .72 c; E .5 .25 .86 .8 c; E .66 .42 .98 .85 c; R .2 .55 .8 .85 c
"""


def _read(text: str) -> dict[str, tuple[tuple[str, ...], list[list[Stroke]]]]:
    """Colours and outlines by name."""
    objects = {}
    for entry in re.split(r"\n(?=\w)", text.strip()):
        head, *outlines = entry.split("\n-")
        name, colours = head.split(":")
        objects[name] = (tuple(colours.split()), [read_outline(outline) for outline in outlines])
    return objects


OBJECTS = _read(_OBJECTS)
SHAPES = {
    "circle": read_outline("E 0 0 1 1 c"),
    "square": read_outline("R .05 .05 .95 .95 c"),
    "triangle": read_outline("P .5 .03 1 .95 0 .95 c"),
    "rectangle": read_outline("R 0 .25 1 .75 c"),
    "ellipse": read_outline("E 0 .22 1 .78 c"),
    "diamond": read_outline("P .5 0 .85 .5 .5 1 .15 .5 c"),
    "hexagon": read_outline("$hexagon"),
    "pentagon": read_outline("$pentagon"),
    "star": read_outline("$star5"),
    "cross": read_outline("R .36 0 .64 1 c; R 0 .36 1 .64 c"),
    "arrow": read_outline("R 0 .38 .6 .62 c; P .55 .15 1 .5 .55 .85 c"),
    "ring": read_outline("A .05 .05 .95 .95 0 360 c"),
    "crescent": read_outline("$crescent"),
    "heart": read_outline("$heart"),
}
