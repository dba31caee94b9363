"""A fingerprint as words that two people can compare by telephone.

Each word stands for one byte, so `count` words say the first 8 * `count` bits of a fingerprint: 8 words are 64 bits. Whoever
wanted another key with the same 8 words would have to make about 2^64 of them. No two words differ in one letter only, and no
two begin with the same four letters, so that a bad line or a slip of the pen is noticed.

>>> words("00ff" * 8, 4)
'acid zone acid zone'
"""

TEXT = """
acid actor agent album almond anchor angle antenna apple april arch arrow atlas autumn bacon badge
bagel bamboo banjo barley basket beach beetle belt berry bishop blanket boat bonfire book border bottle
bread bridge bronze bucket butter cabin cactus camel candle canyon carpet castle cedar chalk cherry circus
clock cloud cobra coffee comet copper coral cotton cousin crayon cricket crown cube curtain daisy dance
dawn denim desert diamond dinner doctor dolphin donkey dragon drum eagle earth echo elbow elephant engine
evening fabric falcon farmer feather fence ferret fiddle finger flute forest fossil fountain fox frog galaxy
garden garlic gate ghost giant giraffe glass glove goose grape guitar hammer harbour hazel helmet herring
hill honey hotel ice igloo insect iron island ivory jacket jaguar jelly jewel judge jungle kayak
kettle kitchen kiwi knife ladder lagoon lamp lemon letter lily lion lizard lobster lunch magnet mango
maple marble meadow melon mirror monsoon mosaic motor museum music napkin nectar needle nest nickel north
novel number oasis ocean olive onion orange orchid otter oven owl oyster paddle palace panda paper
parrot pasta peacock pebble pencil pepper piano pigeon pillow pilot planet pocket poem pony prince pumpkin
puzzle quartz queen quilt rabbit radio rainbow raven ribbon river robin rodeo rope ruby saffron salad
salmon satin scarf school shadow sheep silver sister spider spoon squid stone summer sunset tablet tailor
teapot temple thunder ticket tiger timber tomato tower trumpet tulip tunnel turtle umbrella uncle unicorn valley
vanilla velvet village violin volcano voyage wagon walnut water whale wildcat window winter yacht yellow zone
"""
LIST = TEXT.split()


def words(fingerprint: str, count: int = 8) -> str:
    """The first `count` bytes of a hexadecimal fingerprint in words, to read out: the same words for the same fingerprint."""
    found = bytes.fromhex(fingerprint)[:count]
    if len(found) < count:
        raise ValueError(f"{count} words need {count} bytes, the fingerprint has {len(found)}")
    return " ".join(LIST[byte] for byte in found)
