"""What the guild's records are made of: names, the city, and values that have broken somebody's program."""

NAMES = ["María", "José", "Juan", "Camila", "Luis", "Sofía", "Sebastián", "Valentina", "Matías", "Francisca", "Nicolás", "Ana",
         "Rosa", "Manuel", "Íñigo", "Begoña", "Ximena", "Raúl", "Mónica", "Ángela", "Óscar", "Zoë", "Rayén", "Lautaro", "Nahuel",
         "Millaray", "Jean-Pierre", "Wu", "Ingrid", "Germán", "Úrsula", "Nelly", "Hernán", "Gladys", "Iván", "Noemí"]
SURNAMES = ["González", "Muñoz", "Rojas", "Díaz", "Pérez", "Soto", "Contreras", "Silva", "Martínez", "Sepúlveda", "Morales",
            "Rodríguez", "López", "Fuentes", "Hernández", "Torres", "Araya", "Flores", "Espinoza", "Valenzuela", "Castillo",
            "Núñez", "Tapia", "Reyes", "Gutiérrez", "Castro", "Pizarro", "Álvarez", "Vásquez", "Ñancupil", "Huenchumán",
            "Quispe", "O'Higgins", "D'Alessio", "Ibáñez-Cox", "de la Fuente", "Yáñez", "Güell", "Lefián", "Millán"]
MAIL_HOSTS = ["correo.example", "sopaipillas.example", "mail.example", "ñandú.example"]
# Carts have letters without vowels and two digits.
PLATE_LETTERS = "BCDFGHJKLPRSTVWXYZ"

# South-west corner of the grid on which carts have their places, a kilometre and more from each other.
SOUTH, WEST = -33.56, -70.80
CELL_DEGREES = 0.012
CELLS_A_ROW = 20
# Where nobody of the guild has ever been.
FAR = [(-33.0458, -71.6197), (-36.8201, -73.0444), (-53.1638, -70.9171), (-27.1127, -109.3497), (0, 0), (90, 180), (-90, -180)]

# Names of people, as first name and surname; each also buys.
ODD_NAMES = [
    ("Robert'); DROP TABLE miembros;--", "Tables"), ("Null", "NULL"), ("\"Comillas\"", "'Simples'"), ("Back\\slash", "\\N"),
    ("\u202eaíraM", "\u2067عمر\u2069"), ("Zoe\u0308", "Nu\u0301n\u0303ez"), ("Sin\u200bancho", "\ufeffMarca"),
    ("Tab\tulada", "Salto\nde línea"), ("\u0001\u001b[31mRojo\u001b[0m", "\u007f"), ("山田", "太郎"), ("🧑🏽‍🍳", "🫓"),
    ("$where", "{\"$gt\": \"\"}"), ("__proto__", "constructor"), ("{miembros}:total", "__other__"), ("a|b", "c\\|d"),
    ("$1", "%s%n"), ("$$; SELECT pg_sleep(9); $$", "--"), ("<script>alert(1)</script>", "&lt;b&gt;"), ("=1+1", "@SUM(A1:A9)"),
    ("true", "1e400"), (" ", "\u00a0"), ("Z̸̡̛a̵͝l̶g̷o̸", "\ufffe\uffff"), ("línea\u2028", "párrafo\u2029"), ("M" * 128, "ñ" * 64),
    ("🧉" * 32, "Larguísimo " * 10),
]
# Plates of members' carts, at most 16 bytes each.
ODD_PLATES = ["' OR 1=1; --", "\"; DROP x", "a|b", "a", "b|", "\\", "\\N", "NULL", "ÑÑÑÑ-ñ1", "🛒🛒", "{ventas}:total", "\u202eTRAC", "$1", "%s",
              "(1,2)", "1e3", "007", "7", "bcdf12", "A\u200bB", "=CMD()", "..%2f..", "<b>", "con espacio", "🇨🇱", "ñ" * 8]
