"""What the generated tweets are made of: countries, places, ways of talking about the weather.

In a template {lugar} is a place, {t} a temperature, {hora} an hour, {parte} a part of the day,
{dia} a day, {quien} somebody, {transporte} the local word for a bus, {kmh} and {mm} amounts.
"""

# By how often they are seen: the Zipf law follows this order. With their flags' letters.
COUNTRIES = [
    ("México", "MX"), ("España", "ES"), ("Argentina", "AR"), ("Colombia", "CO"), ("Chile", "CL"), ("Perú", "PE"),
    ("Venezuela", "VE"), ("Guatemala", "GT"), ("Ecuador", "EC"), ("Estados Unidos", "US"), ("Uruguay", "UY"),
    ("República Dominicana", "DO"), ("Costa Rica", "CR"), ("Honduras", "HN"), ("El Salvador", "SV"),
    ("Panamá", "PA"), ("Paraguay", "PY"), ("Bolivia", "BO"), ("Cuba", "CU"), ("Nicaragua", "NI"),
    ("Puerto Rico", "PR"), ("Brasil", "BR"), ("Italia", "IT"), ("Francia", "FR"), ("Reino Unido", "GB"),
    ("Alemania", "DE"), ("Canadá", "CA"), ("Portugal", "PT"), ("Japón", "JP"), ("Corea del Sur", "KR"),
    ("Países Bajos", "NL"), ("Suiza", "CH"), ("Bélgica", "BE"), ("Australia", "AU"), ("Irlanda", "IE"),
    ("Suecia", "SE"), ("Noruega", "NO"), ("Dinamarca", "DK"), ("Finlandia", "FI"), ("Polonia", "PL"),
    ("Austria", "AT"), ("República Checa", "CZ"), ("Grecia", "GR"), ("Turquía", "TR"), ("Rusia", "RU"),
    ("Ucrania", "UA"), ("China", "CN"), ("India", "IN"), ("Nueva Zelanda", "NZ"), ("Sudáfrica", "ZA"),
    ("Marruecos", "MA"), ("Egipto", "EG"), ("Israel", "IL"), ("Emiratos Árabes Unidos", "AE"),
    ("Arabia Saudita", "SA"), ("Catar", "QA"), ("Tailandia", "TH"), ("Vietnam", "VN"), ("Filipinas", "PH"),
    ("Indonesia", "ID"), ("Malasia", "MY"), ("Singapur", "SG"), ("Hungría", "HU"), ("Rumanía", "RO"),
    ("Bulgaria", "BG"), ("Croacia", "HR"), ("Eslovenia", "SI"), ("Eslovaquia", "SK"), ("Islandia", "IS"),
    ("Luxemburgo", "LU"), ("Andorra", "AD"), ("Guinea Ecuatorial", "GQ"), ("Trinidad y Tobago", "TT"),
    ("Jamaica", "JM"), ("Haití", "HT"), ("Belice", "BZ"), ("Argelia", "DZ"), ("Túnez", "TN"), ("Kenia", "KE"),
    ("Nigeria", "NG"), ("Pakistán", "PK"), ("Irán", "IR"), ("Líbano", "LB"), ("Camerún", "CM"),
    ("Costa de Marfil", "CI"),
]

PLACES = {
    "México": "la CDMX|Monterrey|Guadalajara|Mérida|Puebla|Querétaro|Xalapa|Culiacán|Toluca|León|Tijuana|Coyoacán",
    "España": "Madrid|Sevilla|Barcelona|Bilbao|A Coruña|Málaga|Córdoba|Valencia|Zaragoza|Santander|Cádiz|Gijón|Ávila",
    "Argentina": "Buenos Aires|Córdoba|Rosario|Mendoza|Neuquén|Tucumán|Bariloche|La Plata|Mar del Plata|Paraná",
    "Colombia": "Bogotá|Medellín|Cali|Barranquilla|Bucaramanga|Manizales|Popayán|Chía|Ibagué|Santa Marta",
    "Chile": "Santiago|Valparaíso|Concepción|Temuco|Valdivia|Puerto Montt|Antofagasta|Ñuñoa|Maipú|Chillán|Punta Arenas",
    "Perú": "Lima|Arequipa|Cusco|Piura|Trujillo|Huancayo|Iquitos|Puno|Tacna|Miraflores",
    "Venezuela": "Caracas|Maracaibo|Mérida|Valencia|Barquisimeto|San Cristóbal|Cumaná",
    "Guatemala": "la zona 10|Xela|Antigua|Cobán|Mixco|Escuintla|la capital|Quetzaltenango|Petén|Huehuetenango",
    "Ecuador": "Quito|Guayaquil|Cuenca|Ambato|Manta|Loja|Ibarra",
    "Estados Unidos": "Miami|Los Ángeles|Houston|Nueva York|Chicago|San Antonio|Nueva Orleans",
    "Uruguay": "Montevideo|Salto|Punta del Este|Paysandú|Maldonado",
    "República Dominicana": "Santo Domingo|Santiago|Punta Cana|San Cristóbal|Samaná",
    "Costa Rica": "San José|Heredia|Cartago|Limón|Alajuela|Guanacaste",
    "Honduras": "Tegucigalpa|San Pedro Sula|La Ceiba|Comayagua",
    "El Salvador": "San Salvador|Santa Ana|San Miguel|Soyapango",
    "Panamá": "Ciudad de Panamá|Colón|David|Chiriquí",
    "Paraguay": "Asunción|Encarnación|Ciudad del Este|Luque",
    "Bolivia": "La Paz|El Alto|Cochabamba|Santa Cruz|Potosí|Tarija",
    "Cuba": "La Habana|Santiago|Matanzas|Holguín|Camagüey",
    "Nicaragua": "Managua|León|Masaya|Estelí|Bluefields",
    "Puerto Rico": "San Juan|Ponce|Mayagüez|Bayamón|Caguas",
}
ANYWHERE = "el centro|la universidad|mi barrio|la oficina|casa|la playa|la montaña|el pueblo|la estación|el aeropuerto"

BUSES = {
    "México": "el camión", "Argentina": "el bondi", "Chile": "la micro", "Colombia": "el TransMilenio",
    "Perú": "el micro", "Guatemala": "la camioneta", "España": "el bus", "Cuba": "la guagua",
    "República Dominicana": "la guagua", "Puerto Rico": "la guagua", "Uruguay": "el ómnibus",
}

SERVICES = {
    "México": "el SMN", "España": "la AEMET", "Argentina": "el SMN", "Colombia": "el IDEAM", "Chile": "la DMC",
    "Perú": "el SENAMHI", "Venezuela": "el INAMEH", "Guatemala": "el INSIVUMEH", "Ecuador": "el INAMHI",
    "Estados Unidos": "el NWS", "Uruguay": "el INUMET", "República Dominicana": "el INDOMET",
    "Costa Rica": "el IMN", "Honduras": "CENAOS", "El Salvador": "el MARN", "Panamá": "el IMHPA",
    "Paraguay": "la DMH", "Bolivia": "el SENAMHI", "Cuba": "el INSMET", "Nicaragua": "el INETER",
}

SLANG = {
    "México": ["no manches", "güey", "qué padre", "neta", "ándale", "qué oso"],
    "España": ["tío", "vaya tela", "madre mía", "menuda la que está cayendo", "qué pasada", "jolín"],
    "Argentina": ["che", "qué bajón", "re", "mal ahí", "posta", "qué garrón"],
    "Colombia": ["parce", "qué pereza", "juepucha", "qué chimba", "ole"],
    "Chile": ["cachái", "la raja", "po", "qué lata", "fome"],
    "Perú": ["pe", "causa", "qué palta", "asu", "ya fue"],
    "Venezuela": ["chamo", "qué ladilla", "vale", "naguará"],
    "Guatemala": ["vos", "púchica", "qué chilero", "cabal", "a la gran"],
    "Ecuador": ["ñaño", "qué bestia", "achachay", "chuta", "arrarray"],
    "Costa Rica": ["mae", "pura vida", "qué pereza", "diay"],
    "Cuba": ["asere", "candela", "qué bolá"],
    "Uruguay": ["bo", "ta", "salado", "vamo arriba"],
    "República Dominicana": ["qué vaina", "klk", "manín"],
}

# Each topic: short things, whole sentences, emoji, tags.
TOPICS = {
    "lluvia": (
        ["Su lluvia", "Llueve", "Llueve en {lugar}", "Otra vez lloviendo", "Ya empezó a llover", "Lluvia y café",
         "No para de llover", "Y sigue lloviendo…", "Lluvia, por fin", "Sin paraguas, obvio", "Amo la lluvia",
         "Qué aguacero", "Llovizna en {lugar}", "¿Está lloviendo?", "Día de sopita y lluvia", "Adiós, ropa tendida"],
        ["Está lloviendo a cántaros en {lugar}", "Se vino el agua en {lugar}",
         "Salí sin paraguas y justo empezó a llover", "Me agarró el aguacero esperando {transporte}",
         "Llevo los zapatos empapados desde las {hora}", "No hay nada mejor que dormir con el ruido de la lluvia",
         "Lavé el auto ayer, así que hoy tenía que llover", "En {lugar} cayeron {mm} mm en una hora",
         "Otra vez se inundó la esquina de mi casa y nadie hace nada",
         "La lluvia no da tregua en {lugar} desde la {parte}", "Tremendo aguacero ahorita en {lugar}",
         "Con esta lluvia {transporte} va a tardar el doble", "Dijeron «probabilidad baja de lluvia» y mírenme, empapado",
         "Qué rico huele la tierra mojada después de la lluvia", "El techo gotea y ya no me quedan baldes",
         "Llovió toda la noche y {quien} no pegó un ojo", "Apenas chispea y el tráfico ya es un caos",
         "Se me mojaron los apuntes del examen con esta lluvia"],
        "☔ 🌧️ 💧 🌂 💦 ☁️", ["#lluvia", "#lloviendo", "#aguacero", "#paraguas", "#díalluvioso"]),
    "tormenta": (
        ["Qué truenos", "Tormentón", "Se fue la luz", "Rayos y centellas", "¿Escucharon ese trueno?", "Se viene fea",
         "Alerta naranja en {lugar}", "Relámpagos por todos lados", "Qué miedo los rayos"],
        ["Acaba de caer un rayo cerquísima de {lugar}", "Se fue la luz en medio barrio por la tormenta",
         "El perro lleva una hora debajo de la cama por los truenos", "Qué espectáculo de relámpagos sobre {lugar}",
         "Tormenta eléctrica en {lugar}, desenchufen todo", "El cielo se puso negro a las {hora} en {lugar}",
         "Con cada trueno se activan las alarmas de todos los autos de la cuadra",
         "Cancelaron el partido por la tormenta y yo ya tenía la entrada",
         "{quien} dice que contar los segundos entre el rayo y el trueno ayuda; a mí me da más miedo"],
        "⛈️ 🌩️ ⚡ 🌪️ 😱", ["#tormenta", "#tormentaeléctrica", "#alerta", "#rayos"]),
    "calor": (
        ["Qué calor", "Calorón", "{t} grados ya", "Me derrito", "Un calor infernal", "Sudando en {lugar}",
         "¿Hasta cuándo este calor?", "No se puede dormir", "Calor húmedo, el peor", "Agua, por favor", "Quiero invierno ya"],
        ["{t} grados a las {hora} en {lugar}, esto no es normal", "Se me derritió hasta el desodorante en {lugar}",
         "Hace tanto calor que {quien} duerme en el piso del baño", "La sensación térmica en {lugar} es de {t} °C",
         "{transporte} sin aire acondicionado y con {t} grados: un horno con ruedas",
         "Anoche no bajó de {t} grados y no dormí nada", "No hay ventilador que aguante este calor en {lugar}",
         "Pagaría lo que fuera por una piscina ahora mismo", "Son las {hora} y ya no se aguanta el calor",
         "Ola de calor y corte de luz: la combinación perfecta", "Salí cinco minutos y volví quemado como camarón",
         "El asfalto de {lugar} está para freír huevos"],
        "🥵 ☀️ 🔥 🌡️ 💦 🧊 🍦 🏖️", ["#calor", "#oladecalor", "#verano", "#quécalor", "#sensacióntérmica"]),
    "frio": (
        ["Qué frío", "Hace un frío…", "{f} grados", "Friolera total", "Un frío que pela", "No salgo de la cama",
         "¿Y la primavera?", "Modo oruga", "Café y cobija", "Frío en {lugar}", "Se me congelan las manos", "Achachay"],
        ["Amanecimos con {f} grados en {lugar}", "Este frío pide sopa, manta y película", "No siento los dedos de los pies",
         "Hace más frío dentro de mi casa que en la calle", "Con {f} °C a las {hora} nadie debería ir a trabajar",
         "{quien} salió en pantalón corto con {f} grados, no lo entiendo", "Tres cobijas y sigo con frío en {lugar}",
         "Escarcha en el parabrisas esta {parte} en {lugar}", "El agua de la ducha sale a temperatura de pingüino",
         "Dicen que viene un frente frío, como si esto no fuera suficiente",
         "Extraño el calor del que tanto me quejé en enero", "Mañana se esperan {f} grados y yo sin calefacción"],
        "🥶 ❄️ 🧣 🧤 ☕ 🧥", ["#frío", "#invierno", "#frentefrío", "#quéfrío", "#helada"]),
    "nieve": (
        ["¡Nieva!", "Está nevando en {lugar}", "Todo blanco", "¡Nieve en {lugar}!", "Muñeco de nieve, allá voy"],
        ["Está nevando en {lugar} y parezco una niña de cinco años", "Amaneció todo blanco en {lugar}, qué maravilla",
         "La ruta a {lugar} está cortada por la nieve, lleven cadenas", "Primera nevada del año y me toca trabajar",
         "Se suspendieron las clases por la nieve y {quien} está feliz",
         "Qué lindo ver caer la nieve desde la ventana con un chocolate caliente"],
        "❄️ ☃️ 🌨️ ⛄ 🏔️ 🎿", ["#nieve", "#nevada", "#temporal"]),
    "viento": (
        ["Qué viento", "Se vuela todo", "Viento en {lugar}", "Adiós, paraguas", "Ráfagas de {kmh} km/h", "Despeinada total"],
        ["El viento me dio vuelta el paraguas en pleno {lugar}", "Ráfagas de {kmh} km/h en {lugar}, cuidado con los árboles",
         "Se voló la ropa tendida hasta el techo del vecino", "Con este viento {quien} casi sale volando",
         "Cayó un árbol sobre la calle en {lugar} por el viento", "El viento golpea las ventanas desde las {hora}",
         "No sé para qué me peiné si iba a salir con este viento"],
        "💨 🌬️ 🍃 🌀 🎐", ["#viento", "#ráfagas", "#ventarrón", "#norte"]),
    "niebla": (
        ["Niebla total", "No se ve nada", "Neblina en {lugar}", "Amaneció con niebla", "Parece película de terror"],
        ["La niebla en {lugar} no deja ver ni la vereda de enfrente", "Vuelos demorados en {lugar} por niebla, paciencia",
         "Manejen con cuidado: banco de niebla saliendo de {lugar}",
         "Qué bonita se ve la neblina entre los cerros de {lugar} esta {parte}"],
        "🌫️ 👻 🚗 ✈️", ["#niebla", "#neblina", "#camanchaca"]),
    "granizo": (
        ["¡Granizo!", "Granizo en {lugar}", "Pobre auto", "Pedradas del cielo"],
        ["Cayó granizo del tamaño de una pelota de golf en {lugar}", "Corrí a tapar el auto con frazadas por el granizo",
         "El granizo destrozó las lechugas de {quien}", "Quedó todo blanco de granizo en {lugar}, parece nieve"],
        "🧊 🌨️ 😨 🚙", ["#granizo", "#granizada"]),
    "sol": (
        ["Sol, por fin", "Qué lindo día", "Día hermoso", "Cielo despejado en {lugar}", "¡Salió el sol!", "Solcito rico",
         "Ni una nube", "¡Qué atardecer!", "Domingo de sol", "Hoy sí", "Vitamina D"],
        ["Qué día más hermoso en {lugar}, dan ganas de no trabajar", "Por fin salió el sol en {lugar} después de una semana",
         "El atardecer de hoy en {lugar} parecía pintado", "Solcito, mate y {quien}: la felicidad era esto",
         "Solazo en {lugar}, {t} grados y brisa: perfecto", "No olviden el protector solar, hoy el índice UV es extremo",
         "Un cielo así de azul en {lugar} no se veía hace meses", "Día ideal para secar la ropa y pasear al perro"],
        "☀️ 🌞 😎 🌅 🌈 🌻 🏖️", ["#sol", "#buenosdías", "#cieloazul", "#atardecer", "#primavera"]),
    "pronóstico": (
        ["¿Lloverá hoy?", "¿Llevo paraguas?", "El pronóstico miente", "¿Qué clima hace en {lugar}?", "Clima loco",
         "Cuatro estaciones en un día", "Nublado, como yo", "Gris, todo gris"],
        ["La app dice sol y en {lugar} está lloviendo, gracias por nada", "¿Alguien sabe si va a llover el {dia} en {lugar}?",
         "En {lugar} hay cuatro estaciones en un solo día", "{quien} acierta más que el pronóstico, con la rodilla",
         "Salí con abrigo a las {hora} y a mediodía hacía {t} grados", "Nublado en {lugar} y con cero ganas de nada",
         "El clima está más indeciso que yo frente a una carta de helados",
         "Pasamos de {f} a {t} grados en el mismo día, así quién no se enferma"],
        "⛅ 🌤️ 🤷‍♀️ 🤔 🌦️ 🌈 🙃", ["#clima", "#tiempo", "#pronóstico", "#nublado", "#climaloco"]),
}

OPENERS = ["Ay no,", "Bueno,", "Atención:", "Buenos días desde {lugar}.", "Otra vez lo mismo:", "No puede ser,", "Dato:",
           "Reporte desde {lugar}:", "Feliz {dia}.", "Confieso:", "Nadie me avisó:", "¿En serio?", "Mientras tanto,",
           "¡Por favor!", "Son las {hora} y", "A ver,", "Lo digo ya:", "Miren:"]
ASIDES = ["y yo sin paraguas", "y el lunes es feriado, claro", "así no se puede trabajar", "y ni siquiera es {dia}",
          "menos mal que hoy es teletrabajo", "y {quien} ni se entera", "qué ganas de quedarme en la cama",
          "y todavía falta la {parte}", "pero igual hay que madrugar", "no me quejo (sí me quejo)",
          "y {transporte} que no pasa", "¿a alguien más le pasa?", "¡qué locura!", "ya quiero que sea {dia}",
          "cuídense mucho", "abríguense", "hidrátense, gente", "no salgan si no hace falta", "¿cómo está por allá?",
          "manden fotos", "bendito clima", "maldito clima", "y mañana dicen que peor", "increíble pero cierto",
          "esto es el cambio climático, señores", "aquí seguimos esperando", "ánimo, que ya pasa",
          "cero ganas de salir", "y eso que apenas empieza la temporada", "me voy a hacer un café",
          "y la ropa sin secar", "que alguien lo apague", "volvé, sol", "gracias, universo", "no es broma", "y ya"]
QUIEN = ["mi mamá", "mi abuela", "el vecino", "mi jefe", "mi perro", "el gato", "mi hermana", "mi papá", "la profe",
         "mi compañero de piso", "mi suegra", "el señor de los tamales", "mi tía", "Íñigo", "doña Begoña"]
DIA = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]
PARTE = ["mañana", "tarde", "noche", "madrugada"]
HORA = ["5", "6:30", "7", "8 a. m.", "9:15", "11", "12", "14:00", "15", "17:45", "19", "22", "23:50", "3 a. m."]
LAUGHS = ["jajaja", "jaja", "😂", "😂😂😂", "xd", "ajajaj", "😭", "🤣", "💀", "uf", "uff", "pfff", "¿eh?", "\\o/", "¯\\_(ツ)_/¯"]
FACES = ["😍", "😭", "🥰", "🙄", "😴", "🤦🏽‍♂️", "🤷🏻‍♀️", "🙏🏼", "👍🏽", "💪🏿", "🙌🏾", "👋🏼", "😮‍💨", "❤️‍🔥", "👨‍👩‍👧‍👦", "🏃🏽‍♀️",
         "👩🏽‍🌾", "🧑‍🚒", "🐻‍❄️", "🏳️‍🌈", "🫠", "😶‍🌫️", "❤️", "✨", "🎶", "☕", "📸", "🚿", "👀", "1️⃣", "‼️"]
# What is put after a text that would be plain ASCII: few of the real ones are.
ACCENTS = ["¡qué cosa!", "¿no?", "así es", "¿sí o no?", "qué día…", "ñeee", "mañana más", "¡ay!", "más café", "todavía", "en fin…"]

NEWS_ALERTS = ["#ÚltimaHora", "#AlertaMeteorológica", "🔴 ATENCIÓN", "⚠️ AVISO", "🚨 ALERTA", "#Clima", "#ElTiempo",
               "AHORA", "📢 COMUNICADO", "[ACTUALIZACIÓN]", "#Tráfico", "#ProtecciónCivil", "🌧️ REPORTE"]
NEWS_PHENOMENA = ["lluvias intensas", "tormentas eléctricas", "vientos de hasta {kmh} km/h", "una ola de calor con {t} °C",
                  "descenso de temperatura hasta {f} °C", "granizo", "crecida de ríos", "niebla densa", "mar de fondo",
                  "nevadas por encima de los 1.500 metros", "acumulados de {mm} mm", "temperaturas mínimas de {f} °C",
                  "un frente frío", "chubascos dispersos", "calima y mala calidad del aire"]
NEWS_LEADS = ["{servicio} pronostica {fen} en {lugar} para este {dia}",
              "{servicio} emite alerta naranja por {fen} en {lugar} y alrededores",
              "Se prevén {fen} en {lugar} a partir de las {hora}",
              "Autoridades de {lugar} suspenden las clases por {fen}",
              "{pais}: {servicio} advierte de {fen} durante la {parte}",
              "Continúa el aviso por {fen} en {lugar}; la situación mejorará el {dia}",
              "Bomberos atienden {n} emergencias en {lugar} por {fen}",
              "Vía cerrada en {lugar} debido a {fen}; se recomienda tomar rutas alternas",
              "Más de {n}00 familias afectadas en {lugar} tras {fen}"]
NEWS_QUOTES = ["\"No es un fenómeno habitual\", señala {servicio}", "\"Pedimos a la población mantener la calma\"",
               "\"Eviten cruzar ríos y quebradas\", insistió el alcalde", "\"Seguimos trabajando en la zona\", dijo Protección Civil",
               "\"Será el {dia} más lluvioso del año\", según {servicio}", "\"Lo peor ya pasó\", aseguran",
               "\"El río creció de golpe\", relata una vecina de {lugar}", "vía \"El Niño\", la temporada se adelanta"]
NEWS_LINES = ["\n📍 {lugar}", "\nMín. {f} °C \\ Máx. {t} °C", "\n➡️ Ráfagas: {kmh} km/h", "\n☔ Probabilidad: {n} %", "\n\nMás información:",
              "\n• Evite salir\n• Lleve paraguas", "\nVigencia: {dia}, {hora}", "\n🌡️ {t}°C\\{f}°C", "\n— Redacción"]
NEWS_TAILS = ["Más información en https://clima.example/{codigo}", "Lea la nota completa: https://tiempo.example/{codigo}",
              "Tome precauciones.", "Siga nuestra cobertura en vivo.", "Video: https://video.example/{codigo}",
              "La máxima será de {t} °C.", "Se espera que mejore hacia la {parte}.", "No se reportan víctimas.",
              "Habrá nueva actualización a las {hora}.", "El tránsito es lento en los accesos a {lugar}.",
              "Se mantienen abiertos {n} albergues.", "La mínima bajará hasta {f} °C."]
