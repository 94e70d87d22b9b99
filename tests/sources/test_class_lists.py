"""Lists of classes as public sets have them: none is doubted, and each folder is a class."""

import pytest

from tests.sources.planting import plant, read

LISTS = {
    "Food-101":
        "apple_pie baby_back_ribs baklava beef_carpaccio beef_tartare beet_salad bibimbap bread_pudding "
        "cheese_plate chicken_curry chicken_wings chocolate_cake chocolate_mousse spring_rolls french_fries "
        "french_toast fried_rice hot_dog ice_cream red_velvet_cake takoyaki tuna_tartare",
    "Intel": "buildings forest glacier mountain sea street", "weather4": "Cloudy Rain Shine Sunrise",
    "weather2": "dew fogsmog frost glaze hail lightning rain rainbow rime sandstorm snow",
    "weather5": "cloudy foggy rainy snowy sunny", "indoor small": "lab kitchen home office",
    "indoor5": "bathroom bedroom dinning kitchen livingroom", "rooms": "bedroom kitchen office livingroom",
    "chest": "NORMAL PNEUMONIA", "chest4": "COVID Lung_Opacity Normal Viral~Pneumonia",
    "stages": "{stage~0,stage~1,stage~2,stage~3,stage~4}", "stagesI": "{Stage_I,Stage_II,Stage_III,Stage_IV}",
    "gaze": "left right center", "turns": "left right straight", "TB": "Normal Tuberculosis",
    "brain": "glioma meningioma notumor pituitary", "brain2": "no yes",
    "alz": "MildDemented ModerateDemented NonDemented VeryMildDemented",
    "alz2": "{Mild,Moderate,No,Very_Mild}_Impairment", "breast": "benign malignant normal", "idc": "0 1",
    "birads": "{BI-RADS~1,BI-RADS~2,BI-RADS~3,BI-RADS~4}", "fitz": "{I,II,III,IV,V,VI}",
    "skin type": "{type~I,type~II,type~III}", "blood": "EOSINOPHIL LYMPHOCYTE MONOCYTE NEUTROPHIL",
    "malaria": "Parasitized Uninfected", "oct": "CNV DME DRUSEN NORMAL",
    "kvasir":
        "dyed-lifted-polyps dyed-resection-margins esophagitis normal-cecum normal-pylorus normal-z-line "
        "polyps ulcerative-colitis",
    "garbage": "cardboard glass metal paper plastic trash", "waste2": "O R",
    "waste12":
        "battery biological brown-glass cardboard clothes green-glass metal paper plastic shoes trash white- "
        "glass",
    "recyclable": "organic recyclable",
    "realwaste": "Cardboard Food~Organics Glass Metal Miscellaneous~Trash Paper Plastic Textile~Trash Vegetation",
    "car brands": "Audi BMW Ford Honda Hyundai Mahindra~Scorpio Mercedes Rolls~Royce Swift Tata~Safari Toyota~Innova",
    "car logos": "hyundai lexus mazda mercedes opel skoda toyota volkswagen",
    "phones2": "iphone redmi headphones charger", "electronics": "Laptop Mobile Mouse Keyboard Tablet",
    "electronics2": "camera laptop phone tv watch", "ages": "{0-9,10-19,20-29,30-39,40-49,50-59,60+}",
    "ages2": "MIDDLE OLD YOUNG", "ages3": "{18-20,21-30,31-40,41-50,51-60}", "ages4": "adult child teen",
    "gender": "female male", "gender2": "men women", "gender3": "boys girls", "UTK": "{1..50}", "digits": "{0..9}",
    "letters": "{A,B,C,D,E,F,G,H,I,J,K,L,M,N,O,P,Q,R,S,T,U,V,W,X,Y,Z}", "lower": "{a,b,c,d,e,f,g,h,i,j,k,l,m}",
    "roman": "{i,ii,iii,iv,v,vi,vii,viii,ix,x}", "ROMAN": "{I,II,III,IV,V}",
    "digit words": "zero one two three four five six seven eight nine", "fingers": "{0..5}",
    "fingers words": "fist one two three four five",
    "gestures": "01_palm 02_l 03_fist 04_fist_moved 05_thumb 06_index 07_ok 08_palm_moved 09_c 10_down",
    "rps": "paper rock scissors", "emotions": "angry disgust fear happy neutral sad surprise",
    "ferplus": "anger contempt disgust fear happiness neutral sadness surprise",
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "fashion": "Ankle~boot Bag Coat Dress Pullover Sandal Shirt Sneaker T-shirt Trouser",
    "flowers5": "daisy dandelion rose sunflower tulip",
    "flowers16":
        "astilbe bellflower black_eyed_susan calendula california_poppy carnation common_daisy coreopsis "
        "dandelion iris magnolia rose sunflower tulip water_lily",
    "animals10": "cane cavallo elefante farfalla gallina gatto mucca pecora ragno scoiattolo",
    "sports": "baseball basketball boxing cricket football hockey swimming tennis wrestling",
    "eurosat":
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River "
        "SeaLake",
    "ucmerced":
        "agricultural airplane baseballdiamond beach buildings chaparral denseresidential forest freeway "
        "golfcourse harbor intersection mediumresidential mobilehomepark overpass parkinglot river runway "
        "sparseresidential storagetanks tenniscourt",
    "sat": "cloudy desert green_area water",
    "resisc":
        "airplane airport baseball_diamond basketball_court beach bridge chaparral church circular_farmland "
        "cloud commercial_area dense_residential desert forest freeway",
    "cracks": "Negative Positive", "decks": "Cracked Non-cracked", "casting": "def_front ok_front",
    "mvtec": "broken_large broken_small contamination good",
    "steel": "Crazing Inclusion Patches Pitted Rolled Scratches", "good bad": "good bad",
    "quality fruits": "Bad~Quality_Fruits Good~Quality_Fruits Mixed~Qualit_Fruits", "pass fail": "fail pass",
    "OK NG": "NG OK", "tyres": "defective good",
    "pcb": "Missing_hole Mouse_bite Open_circuit Short Spur Spurious_copper", "helmet": "helmet no_helmet",
    "mask3": "mask_weared_incorrect with_mask without_mask", "eyes": "Closed Open",
    "drowsy": "Closed Open no_yawn yawn", "drowsy2": "Drowsy Non~Drowsy", "fire": "fire_images non_fire_images",
    "smoke": "not_smoking smoking", "deepfake": "Fake Real", "ai": "AiArtData RealArt",
    "violence": "NonViolence Violence", "ripeness": "overripe ripe rotten unripe",
    "mangos": "Anwar~Ratol Chaunsa~Black Chaunsa~White Dosehri Fajri Langra Sindhri",
    "rice": "Arborio Basmati Ipsala Jasmine Karacadag", "dryfruit": "Almond Cashew Raisin",
    "dates": "Ajwa Galaxy Medjool Nabtat Rutab Shaishe Sokari Sugaey",
    "rice leaf": "Bacterial~leaf~blight Brown~spot Leaf~smut", "bean": "angular_leaf_spot bean_rust healthy",
    "corn": "Blight Common_Rust Gray_Leaf_Spot Healthy", "soil": "Alluvial~soil Black~Soil Clay~soil Red~soil",
    "pests": "ants bees beetle catterpillar earthworms earwig grasshopper moth slug snail wasp weevil",
    "simpsons": "abraham_grampa_simpson bart_simpson homer_simpson lisa_simpson marge_simpson",
    "pokemon": "Bulbasaur Charmander Mewtwo Pikachu Squirtle",
    "lego": "2357~Brick~corner~1x2x2 3003~Brick~2x2 3004~Brick~1x2", "chess": "Bishop King Knight Pawn Queen Rook",
    "cards": "ace~of~clubs ace~of~hearts king~of~clubs king~of~hearts queen~of~clubs queen~of~hearts joker",
    "coins": "1c 2c 5c 10c 20c 50c 1e 2e", "currency": "{10,20,50,100,200,500,2000}",
    "traffic lights": "green red yellow",
    "traffic": "Left~turn No~entry Right~turn Stop Speed~limit~30 Speed~limit~50",
    "vehicles": "Bus Car Motorcycle Truck", "emergency": "ambulance firetruck police",
    "boats": "buoy cruise_ship ferry_boat freight_boat gondola inflatable_boat kayak paper_boat sailboat",
    "architecture":
        "altar apse bell_tower column dome(inner) dome(outer) flying_buttress gargoyle stained_glass vault",
    "art": "drawings engraving iconography painting sculpture", "orientation": "{0,90,180,270}",
    "positions": "downdog goddess plank tree warrior2", "mnist-c zh": "{零,一,二,三,四,五,六,七,八,九}",
    "hiragana": "{あ,い,う,え,お}", "hangul": "{가,나,다,라}", "cyrillic": "{А,Б,В,Г,Д,Е}",
    "documents": "email form invoice letter resume",
    "docs rvl":
        "advertisement budget email file_folder form handwritten invoice letter memo news_article "
        "presentation questionnaire resume scientific_publication",
    "screens": "dark_mode light_mode", "memes": "meme notmeme", "nsfw": "drawings hentai neutral porn sexy",
    "light": "low_light normal_light", "galaxies": "{E0,E3,E7,S0,Sa,Sb,Sc,SBa,SBb,SBc,Irr}",
    "clouds": "Ac As Cb Cc Ci Cs Ct Cu Ns Sc St", "lfw": "George_W_Bush Colin_Powell Tony_Blair",
    "actors": "Brad~Pitt Tom~Cruise Will~Smith", "DC": "A320 A330 Boeing737 Boeing747", "ships": "ship noship",
    "solar": "Bird-drop Clean Dusty Electrical-damage Physical-Damage Snow-Covered", "roads": "dry ice snow wet",
    "yoga": "{Adho_Mukha,Urdhva}", "tumorgrade": "{Grade_I,Grade_II,Grade_III,Grade_IV}",
    "class abc": "{Class~A,Class~B,Class~C}", "hurricane": "damage no_damage",
    "teeth": "Calculus Caries Gingivitis Hypodontia Tooth~Discoloration Ulcers",
    "hair": "Curly_Hair Straight_Hair Wavy_Hair", "skin": "dry normal oily",
    "lungs": "adenocarcinoma benign squamous_cell_carcinoma", "noise": "clean noisy",
}  # fmt: skip


@pytest.mark.parametrize("tree", LISTS.values(), ids=LISTS)
def test_a_public_list_of_classes_is_not_doubted(tmp_path, tree):
    plant(tmp_path, " ".join(f"{label}*2" for label in tree.split()))
    found = read(tmp_path)
    assert found.notes == []
    assert {sample.label for sample in found.samples} == {path.name for path in tmp_path.iterdir()}
