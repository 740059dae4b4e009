//! The closed lists of the world: what things are called in every text.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(#[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As texts say it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}

words! {
    Shape {
        Circle = "circle", Square = "square", Triangle = "triangle", Star = "star",
        Heart = "heart", Cross = "cross", Ring = "ring", Crescent = "crescent",
    }
}

words! {
    /// Colours of shapes.
    Colour {
        Red = "red", Orange = "orange", Yellow = "yellow", Green = "green",
        Blue = "blue", Purple = "purple", Pink = "pink", Black = "black",
    }
}

words! { Size { Small = "small", Medium = "medium", Large = "large" } }

words! {
    /// How a shape or a background is filled.
    Pattern { Plain = "plain", Striped = "striped", Dotted = "dotted", Checked = "checked" }
}

words! {
    /// Colours of backgrounds: pale ones, on which every colour of a shape stands out.
    Ground { White = "white", Grey = "grey", Beige = "beige", Mint = "mint", Sky = "sky blue" }
}

words! {
    /// Where in the picture, by thirds.
    Place {
        TopLeft = "top left", Top = "top", TopRight = "top right",
        Left = "left", Middle = "middle", Right = "right",
        BottomLeft = "bottom left", Bottom = "bottom", BottomRight = "bottom right",
    }
}

words! {
    /// What signs say.
    Written {
        Bank = "bank", Bar = "bar", Book = "book", Bus = "bus", Cafe = "cafe", City = "city", Club = "club",
        Cold = "cold", Deli = "deli", Exit = "exit", Farm = "farm", Film = "film", Fire = "fire", Fish = "fish",
        Free = "free", Gym = "gym", Help = "help", Home = "home", Hot = "hot", Inn = "inn", Lift = "lift",
        Love = "love", Map = "map", Menu = "menu", Milk = "milk", News = "news", No = "no", Now = "now",
        Off = "off", On = "on", Open = "open", Park = "park", Play = "play", Post = "post", Pub = "pub",
        Push = "push", Sale = "sale", Shop = "shop", Slow = "slow", Stop = "stop", Taxi = "taxi", Tea = "tea",
        Way = "way", Wet = "wet", Yes = "yes", Zoo = "zoo",
    }
}

words! {
    /// What kind of thing a noun names. Nobody is asked which `thing` is in a picture: everything is one.
    Category {
        Animal = "animal", Food = "food", Vehicle = "vehicle", Plant = "plant", Building = "building",
        Clothing = "clothing", Instrument = "instrument", Tool = "tool", Thing = "thing",
    }
}

words! {
    /// Whose drawings.
    Style {
        Noto = "noto", Fluent = "fluent-emoji-flat", Twemoji = "twemoji", Emojione = "emojione", Openmoji = "openmoji",
    }
}

words! {
    /// Of two centres.
    Relation { Left = "to the left of", Right = "to the right of", Above = "above", Below = "below" }
}

impl Relation {
    /// Seen from the other object.
    pub fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }

    /// Of the object that has this relation to all others of its kind.
    pub fn superlative(self) -> &'static str {
        match self {
            Self::Left => "leftmost",
            Self::Right => "rightmost",
            Self::Above => "topmost",
            Self::Below => "bottommost",
        }
    }
}

impl Shape {
    pub fn plural(self) -> &'static str {
        match self {
            Self::Circle => "circles",
            Self::Square => "squares",
            Self::Triangle => "triangles",
            Self::Star => "stars",
            Self::Heart => "hearts",
            Self::Cross => "crosses",
            Self::Ring => "rings",
            Self::Crescent => "crescents",
        }
    }
}

impl Category {
    /// `None` for words that are not counted.
    pub fn plural(self) -> Option<&'static str> {
        match self {
            Self::Animal => Some("animals"),
            Self::Vehicle => Some("vehicles"),
            Self::Plant => Some("plants"),
            Self::Building => Some("buildings"),
            Self::Instrument => Some("instruments"),
            Self::Tool => Some("tools"),
            Self::Food | Self::Clothing | Self::Thing => None,
        }
    }
}

/// A number in running text.
pub fn number(n: usize) -> &'static str {
    ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        .get(n)
        .copied()
        .unwrap_or("many")
}

/// `a fox`, `an owl`.
pub fn with_article(phrase: &str) -> String {
    let article = if phrase.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {phrase}")
}
