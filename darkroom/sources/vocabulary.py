"""Words that people use for folders and that are hardly ever classes, in fifteen languages.

The order of languages: English, German, French, Spanish, Portuguese, Italian, Dutch, Swedish, Polish, Russian, Turkish,
Chinese (both scripts), Japanese, Korean. Words of several parts are joined by `_`; accents may be missing in names.
"""

import re
import unicodedata


def plain(text: str) -> str:
    """Return a text in lower case and without accents: `Été` and `ete` are one word."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.lower())
    return unicodedata.normalize("NFC", "".join(char for char in apart if unicodedata.category(char) != "Mn"))


def _words(text: str) -> frozenset[str]:
    return frozenset(plain(word).replace("_", " ") for word in text.split())


# Of further languages, the words that part pictures most: Danish and Norwegian, Finnish, Czech, Hungarian, Romanian,
# Greek, Ukrainian, Indonesian, Vietnamese, Arabic, Hebrew, Hindi, Thai, Persian.
_FURTHER_TIMES = """
    morgen aften kveld nat dag forår vår efterår høst vinter aamu ilta päivä yö kevät kesä syksy talvi
    ráno dopoledne odpoledne večer noc den jaro léto podzim zima reggel délután este éjszaka nappal tavasz nyár ősz tél
    dimineață seară noapte zi primăvară vară toamnă iarnă πρωί απόγευμα βράδυ νύχτα μέρα άνοιξη καλοκαίρι φθινόπωρο
    χειμώνας ранок вечір ніч весна літо осінь зима pagi siang sore malam sáng trưa chiều tối đêm ngày xuân hạ thu đông
    صباح مساء ليل نهار ربيع صيف خريف شتاء صبح عصر شب روز بهار تابستان پاییز زمستان בוקר ערב לילה יום אביב קיץ סתיו
    חורף सुबह दोपहर शाम रात दिन वसंत गर्मी शरद सर्दी เช้า บ่าย เย็น กลางคืน กลางวัน
"""
_FURTHER_PLACES = """
    venstre højre høyre inde ude inne ute hjemme arbejde vasen oikea sisällä ulkona koti työ vlevo vpravo levá pravá
    uvnitř venku doma práce bal jobb bent kint otthon munka stânga dreapta înăuntru afară acasă αριστερά δεξιά μέσα έξω
    σπίτι ліворуч праворуч всередині зовні вдома kiri kanan dalam luar rumah kantor trái phải trong ngoài nhà
    يسار يمين داخل خارج بيت منزل چپ راست خانه שמאל ימין בפנים בחוץ בית बाएं दाएं अंदर बाहर घर ซ้าย ขวา ใน นอก บ้าน
"""
# Where pictures are found.
ORIGINS = _words("""
    google bing baidu yandex flickr kaggle imagenet openimages coco unsplash pexels pixabay shutterstock istock getty
    wikimedia wikipedia instagram facebook twitter reddit youtube tiktok pinterest inaturalist gbif internet web
    scraped
    downloaded synthetic duckduckgo naver weibo vk
""")
TIMES = _words(
    """
    morning mornings noon midday afternoon evening evenings night nights nighttime day daytime daylight dawn dusk
    sunrise sunset midnight twilight am pm early late spring summer autumn fall winter sunny cloudy rain rainy fog
    foggy
    snow snowy overcast bright dark flash noflash weekend weekday yesterday today monday tuesday wednesday thursday
    friday
    saturday sunday january february march april may june july august september october november december jan feb
    mar apr jun jul aug sep sept oct nov dec
    mon tue wed thu fri sat sun
    morgen morgens vormittag vormittags mittag mittags nachmittag nachmittags abend abends nacht nachts tag tagsüber
    frühling frühjahr sommer herbst sonnig bewölkt regen nebel schnee hell dunkel gestern heute früh spät
    montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar märz mai juni juli oktober dezember
    matin midi soir soirée nuit jour aube crépuscule printemps été automne hiver ensoleillé nuageux pluie brouillard
    neige clair sombre hier lundi mardi mercredi jeudi vendredi samedi dimanche janvier février mars avril juin juillet
    août septembre octobre novembre décembre
    mañana mediodía tarde noche día amanecer atardecer primavera verano otoño invierno soleado nublado lluvia niebla
    nieve claro oscuro ayer hoy lunes martes miércoles jueves viernes sábado domingo enero febrero marzo abril mayo
    junio julio agosto septiembre octubre noviembre diciembre
    manhã meio-dia noite dia amanhecer entardecer verão outono inverno ensolarado chuva nevoeiro neve escuro ontem hoje
    segunda terça quarta quinta sexta segunda-feira terça-feira quarta-feira quinta-feira sexta-feira janeiro fevereiro
    março maio junho julho setembro outubro novembro dezembro
    mattina mattine sere notti mattino mezzogiorno pomeriggio sera notte giorno alba tramonto estate autunno inverno
    soleggiato nuvoloso
    pioggia nebbia chiaro scuro ieri oggi lunedì martedì mercoledì giovedì venerdì sabato domenica gennaio febbraio
    aprile maggio giugno luglio settembre ottobre dicembre
    ochtend ochtends avonds middags nachts middag namiddag avond dag lente zomer herfst zonnig bewolkt mist sneeuw
    licht donker gisteren vandaag
    maandag dinsdag woensdag donderdag vrijdag zaterdag zondag januari februari maart mei augustus
    morgon förmiddag eftermiddag kväll natt gryning skymning vår sommar höst vinter soligt molnigt regn dimma snö ljus
    mörk måndag tisdag onsdag torsdag fredag lördag söndag mars maj augusti
    rano ranek poranek południe popołudnie wieczór noc dzień świt zmierzch wiosna lato jesień zima słonecznie pochmurno
    deszcz mgła śnieg jasno ciemno wczoraj dziś poniedziałek wtorek środa czwartek piątek sobota niedziela styczeń luty
    marzec kwiecień czerwiec lipiec sierpień wrzesień październik listopad grudzień
    утро утром полдень день днём вечер вечером ночь ночью рассвет закат весна лето осень зима солнечно облачно дождь
    туман снег светло темно вчера сегодня понедельник вторник среда четверг пятница суббота воскресенье январь февраль
    март апрель май июнь июль август сентябрь октябрь ноябрь декабрь
    sabah öğle öğlen akşam gece gündüz şafak ilkbahar bahar yaz sonbahar güz kış güneşli bulutlu yağmur yağmurlu sis
    sisli kar karlı aydınlık karanlık dün bugün pazartesi salı çarşamba perşembe cuma cumartesi pazar ocak şubat mart
    nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık
    早上 早晨 上午 中午 下午 傍晚 晚上 夜晚 夜间 夜間 白天 黎明 黄昏 春 夏 秋 冬 春天 夏天 秋天 冬天 春季 夏季
    秋季 冬季 晴天 阴天 陰天 雨天 雾天 霧天 雪天 周一 周二 周三 周四 周五 周六 周日 星期一 星期二 星期三 星期四
    星期五 星期六 星期日 一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月 昨天 今天
    朝 昼 夕方 夜 晩 午前 午後 夜明け 日中 晴れ 曇り 雨 霧 雪 明るい 暗い 月曜 火曜 水曜 木曜 金曜 土曜 日曜
    月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日 昨日 今日
    아침 오전 정오 낮 오후 저녁 밤 새벽 봄 여름 가을 겨울 맑음 흐림 비 안개 눈 밝음 어두움 월요일 화요일 수요일
    목요일 금요일 토요일 일요일 어제 오늘
    frühmorgens spätabends mattine wiosną latem jesienią zimą nocą rankiem wieczorem весной летом осенью зимой утра
    清晨 凌晨 深夜 早 晚 平日 周末 週末 早朝 未明 주말 평일
"""
    + _FURTHER_TIMES
)
PLACES = _words(
    """
    pasture indoor outdoor indoors outdoors inside outside front frontal back rear left right top bottom side
    lateral od os north
    south east west near far lab laboratory home house office field greenhouse studio workshop garage garden yard barn
    factory warehouse school campus clinic work onsite offsite upstairs downstairs
    innen außen drinnen draußen vorne hinten links rechts oben unten seite seitlich vorderseite rückseite nord süd ost
    labor zuhause daheim büro feld gewächshaus werkstatt garten schule arbeit
    intérieur extérieur dedans dehors avant arrière gauche droite haut bas côté devant derrière face dos nord sud est
    ouest labo laboratoire maison bureau champ serre atelier jardin école terrain
    interior exterior dentro fuera delante detrás izquierda derecha izquierdo derecho arriba abajo lado frente atrás
    norte sur este oeste laboratorio casa oficina campo invernadero taller jardín escuela
    fora trás esquerda direita esquerdo direito cima baixo lateral sul leste laboratório escritório estufa oficina
    escola
    interno esterno fuori davanti dietro sinistra destra sinistro destro sopra sotto fronte retro lato sud ovest
    ufficio
    serra officina giardino scuola
    binnen buiten voor achter voorkant achterkant rechts boven onder zijkant noord zuid oost thuis kantoor veld kas
    werkplaats tuin werk
    inne ute inomhus utomhus fram bak framsida baksida vänster höger upp ner sida norr söder öst väst hemma labb kontor
    fält växthus verkstad trädgård skola jobb
    wewnątrz zewnątrz przód tył lewo prawo lewy prawy lewa prawa góra dół bok północ południe wschód zachód dom biuro
    pole szklarnia warsztat ogród szkoła praca
    внутри снаружи спереди сзади слева справа левый правый лево право верх низ сверху снизу сбоку север юг восток запад
    дом дома офис поле теплица мастерская сад школа лаборатория работа улица
    içeride dışarıda iç dış ön arka sol sağ üst alt yan kuzey güney doğu batı ev ofis tarla sera atölye bahçe okul
    laboratuvar iş
    室内 室外 户外 戶外 里面 外面 正面 背面 侧面 側面 前面 后面 後面 左 右 上 下 前 后 後 左侧 右侧 左側 右側 左边 右边
    东 南 西 北 東 实验室 實驗室 家 家里 办公室 辦公室 田间 温室 車間 车间 花园 学校 公司
    屋内 屋外 内 外 表 裏 左側 右側 実験室 研究室 自宅 職場 畑 庭 工場
    실내 실외 야외 안 밖 앞 뒤 왼쪽 오른쪽 위 아래 옆 앞면 뒷면 동쪽 서쪽 남쪽 북쪽 실험실 집 사무실 회사 온실 정원
    학교
"""
    + _FURTHER_PLACES
)
DEVICES = _words("""
    iphone ipad android samsung galaxy pixel xiaomi redmi poco realme huawei honor oppo vivo oneplus nokia lumia
    motorola
    moto htc lg asus zenfone tecno infinix blackberry meizu zte lenovo iqoo nubia fairphone canon eos powershot ixus
    nikon coolpix sony xperia fuji fujifilm finepix olympus panasonic lumix leica pentax kodak ricoh casio hasselblad
    polaroid gopro insta360 osmo dji mavic drone uav webcam logitech kinect realsense sigma tamron zeiss garmin cam
    camera cameras phone phones smartphone cellphone
    mobile tablet laptop dslr scanner microscope endoscope camcorder raspberry raspi picam
    handy kamera drohne téléphone portable appareil teléfono móvil celular cámara telefone câmera telefono cellulare
    fotocamera telefoon mobiel mobil telefon kamera komórka aparat телефон смартфон камера фотоаппарат cep_telefonu
    手机 手機 相机 相機 平板 小米 红米 华为 華為 荣耀 三星 苹果手机 スマホ 携帯 カメラ 핸드폰 휴대폰 카메라 갤럭시
    아이폰
""")
SIZES = _words("""
    small medium large big before after old new high low hq lq v lowres hires highres closeup macro zoom zoomed wide
    tripod handheld exposed unexposed underexposed overexposed
    klein mittel groß vorher nachher zuerst danach belichtet unbelichtet überbelichtet unterbelichtet alt neu hoch
    niedrig petit moyen grand avant après ancien nouveau
    pequeño mediano grande antes después viejo nuevo pequeno médio depois velho novo piccolo medio prima dopo vecchio
    nuovo klein groot voor na oud nieuw liten stor före efter gammal ny mały średni duży przed po stary nowy
    маленький средний большой до после старый новый küçük orta büyük önce sonra eski yeni
    小 中 大 之前 之后 之後 旧 新 舊 使用前 使用後 前 後 작은 중간 큰 전 후
""")
# What was decided about pictures, or is still to be decided; beside other classes, too.
STATES = _words("""
    keep keeper keepers toss discard discarded drop dropped delete deleted remove removed reject rejects rejected
    accept
    accepted approved failed fails failure failures done todo pending finished unfinished ready wip draft drafts
    usable unusable useful useless checked unchecked verified unverified reviewed unreviewed reviewing confirmed
    unconfirmed sorted unsorted labeled labelled selected unselected picked favourites favorites best sharp blurred
    blurry
    unsharp maybe unclear doubtful uncertain questionable redo retake recheck final wrong mislabeled mislabelled dup
    dups doubles xxx zzz asdf
    behalten verworfen gelöscht löschen abgelehnt angenommen fehlgeschlagen fertig offen erledigt brauchbar unbrauchbar
    geprüft ungeprüft ausgewählt unscharf falsch doppelt vielleicht unklar unsicher aussortiert unsortiert
    refaire garder garde jeter supprimer rejeté accepté échoué échec terminé utilisable inutilisable vérifié choisi
    net flou
    peut-être incertain à_trier trier raté ratés
    guardar descartar descartado descartados borrar rechazado aceptado fallido fallidas listo pendiente útil inútil
    revisado elegido nítido borroso quizás dudoso sin_clasificar
    manter apagar rejeitado aceito falhou pronto pendente revisado escolhido desfocado talvez duvidoso
    tenere scartare scartati scarto cancellare rifiutato accettato fallito fatto pronto utile inutile verificato scelto
    nitido sfocato forse dubbio da_ordinare
    bewaren weggooien verwijderen afgekeurd goedgekeurd mislukt klaar bruikbaar onbruikbaar gecontroleerd scherp
    onscherp
    misschien onduidelijk ongesorteerd
    behåll släng kasta radera underkänd godkänd misslyckad klar användbar kontrollerad skarp suddig kanske oklar
    osorterat
    zostaw wyrzuć usuń odrzucone przyjęte nieudane gotowe przydatne sprawdzone ostre nieostre może niejasne
    брак оставить удалить отклонено принято неудачные готово годные негодные проверено резкие размытые возможно
    непонятно
    sakla sil silinecek reddedilen reddedildi onaylandı başarısız bitti bekleyen kullanılabilir net bulanık belki
    保留 删除 刪除 拒绝 接受 失败 失敗 通过 完成 待定 已检查 清晰 模糊 不确定 不確定 待处理 待分类 未分类
    残す 削除 却下 承認 済み 未処理 確認済み ピンぼけ 保留 不明 未分類
    보관 삭제 거절 승인 실패 완료 보류 선명 흐릿함 불명 미분류
""")
PEOPLE = _words("""
    me myself mom mum dad mother father brother sister wife husband friend friends colleague colleagues family
    student students teacher teachers volunteer volunteers participant participants staff visitor visitors neighbour
    neighbor intern interns user users expert experts novice observer annotator annotators photographer
    ich mama papa mutter vater bruder schwester freund freunde kollege kollegen familie schüler lehrer studenten
    nachbar
    moi maman mère père frère soeur ami amis collègue collègues famille élèves étudiants professeur professeurs voisin
    yo mamá papá madre padre hermano hermana amigo amigos colega colegas familia alumnos profesores vecino
    eu mãe pai irmão irmã família alunos professores io mamma fratello sorella amico amici colleghi famiglia studenti
    professori ik moeder vader broer zus vriend vrienden collega collegas leerlingen leraren
    jag mor far bror syster vän vänner kollegor familj elever lärare ja matka ojciec brat siostra przyjaciel koledzy
    rodzina uczniowie nauczyciele я мама папа брат сестра друг друзья коллеги семья ученики учителя
    ben anne baba kardeş arkadaş arkadaşlar aile öğrenci öğretmen 我 妈妈 媽媽 爸爸 哥哥 姐姐 朋友 同事 家人 学生 學生
    老师 老師 私 母 父 兄 姉 友達 同僚 家族 先生 나 엄마 아빠 형 누나 친구 동료 가족 학생 선생님
""")
FILLERS = _words(
    "to the a not no for need needs be label labels labelled labeled is are of images pictures photos ones a à da zu"
)
# What nobody has sorted, and folders of any pictures.
RESTS = _words("""
    misc miscellaneous other others various rest etc uncategorized unclassified unknown junk noise review duplicates
    to_sort bad corrupt skip ignore check unsure all everything selected
    divers sonstiges sonstige sonstiger verschiedenes andere alle alles übrige autres varié varie otros outros altro
    altri tutti todos
    todas tous tout overige overig alles övrigt övriga alla reszta różne wszystkie остальное другое разное прочее все
    diğer diğerleri hepsi 其他 其它 其餘 全部 杂项 その他 全て すべて 기타 전체 나머지
""")
# Folders that come with data sets, and that people and programs make beside them.
COMPANIONS = _words("""
    annotations annotation labels docs doc meta metadata scripts code src assets figures screenshots demo demos
    notebooks
    plots logs results output outputs exports export examples checkpoints runs venv env tmp temp backup backups old
    inbox
    incoming todo to_label unsorted thumbs thumb thumbnails previews preview delete delete_me deleted rejected trash
    lost
    recycled archive archived originals
    vorschau vorschaubilder papierkorb sicherung sicherungen kopien ergebnisse beispiele bildschirmfotos unsortiert
    aperçu aperçus vignettes corbeille sauvegarde résultats exemples captures à_trier
    miniaturas papelera copias respaldo resultados ejemplos capturas sin_clasificar lixeira cópias exemplos
    miniature cestino copie risultati esempi da_ordinare voorbeelden prullenbak kopieën resultaten ongesorteerd
    miniatyrer papperskorg kopior resultat exempel osorterat miniatury kosz kopie wyniki przykłady
    миниатюры корзина копии результаты примеры архив küçük_resimler çöp yedek sonuçlar örnekler
    缩略图 回收站 备份 截图 结果 示例 縮圖 備份 サムネイル ゴミ箱 バックアップ 結果 サンプル 미리보기 휴지통 백업
    결과 예시
""")
KINDS = {
    "times, weather or light": TIMES, "places or views": PLACES, "devices": DEVICES, "sources of pictures": ORIGINS,
    "sizes or versions": SIZES, "decisions about pictures": STATES, "persons": PEOPLE,
}  # fmt: skip
# Numbers as words, from one; and ranks, from first.
_NUMBERS = """
    one two three four five six seven eight nine ten
    eins zwei drei vier fünf sechs sieben acht neun zehn
    un deux trois quatre cinq six sept huit neuf dix
    uno dos tres cuatro cinco seis siete ocho nueve diez
    um dois três quatro cinco seis sete oito nove dez
    uno due tre quattro cinque sei sette otto nove dieci
    een twee drie vier vijf zes zeven acht negen tien
    ett två tre fyra fem sex sju åtta nio tio
    jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć
    один два три четыре пять шесть семь восемь девять десять
    bir iki üç dört beş altı yedi sekiz dokuz on
    一 二 三 四 五 六 七 八 九 十
    하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열
    i ii iii iv v vi vii viii ix x xi xii
"""
_RANKS = """
    first second third fourth fifth
    erste zweite dritte vierte fünfte
    erster zweiter dritter vierter fünfter
    erstes zweites drittes viertes fünftes
    premier deuxième troisième quatrième cinquième
    première seconde troisième quatrième cinquième
    primero segundo tercero cuarto quinto
    primera segunda tercera cuarta quinta
    primeiro segundo terceiro quarto quinto
    primeira segunda terceira quarta quinta
    primo secondo terzo quarto quinto
    prima seconda terza quarta quinta
    eerste tweede derde vierde vijfde
    första andra tredje fjärde femte
    pierwszy drugi trzeci czwarty piąty
    pierwsza druga trzecia czwarta piąta
    первый второй третий четвёртый пятый
    первая вторая третья четвёртая пятая
    birinci ikinci üçüncü dördüncü beşinci
    第一 第二 第三 第四 第五
    첫째 둘째 셋째 넷째 다섯째
"""


def _counted(text: str) -> dict[str, int]:
    return {plain(word): n for line in text.splitlines() for n, word in enumerate(line.split(), 1)}


NUMBERS, RANKS = _counted(_NUMBERS), _counted(_RANKS)
RANK = re.compile(r"(\d{1,2})(st|nd|rd|th|er|ere|re|eme|e|o|a|de|ste|te|й|я|е)")  # `2nd`, `1er`, `2º`


def rank(word: str) -> int:
    """Return the number that a word means as a rank, `first`, `zweite`, `3rd`; 0 for another word."""
    word = plain(word)
    match = RANK.fullmatch(word)
    return int(match[1]) if match else RANKS.get(word, 0)
