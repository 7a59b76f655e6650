"""Hindi. Sentences are built so that no verb agrees with a person whose gender is not known."""

from __future__ import annotations

from typing import Final

from signaling.mail_texts.texts import Letter, Texts

_ROOM: Final = "अपना कक्ष खोलें"
_ANSWER: Final = "कक्ष में उत्तर दें"
_AGAIN: Final = "दूसरा समय चुनें"

HI: Final = Texts(
    language="hi",
    weekdays=("सोमवार", "मंगलवार", "बुधवार", "गुरुवार", "शुक्रवार", "शनिवार", "रविवार"),
    weekdays_short=("सोम", "मंगल", "बुध", "गुरु", "शुक्र", "शनि", "रवि"),
    months=(
        "जनवरी", "फ़रवरी", "मार्च", "अप्रैल", "मई", "जून",
        "जुलाई", "अगस्त", "सितंबर", "अक्टूबर", "नवंबर", "दिसंबर",
    ),
    months_short=(
        "जन॰", "फ़र॰", "मार्च", "अप्रैल", "मई", "जून", "जुल॰", "अग॰", "सित॰", "अक्टू॰", "नव॰", "दिस॰",
    ),
    date="{weekday}, {day} {month} {year}",
    date_short="{weekday}, {day} {month}",
    your_time="{time} {city} (आपका समय)",
    their_time="{time} {city} ({partner})",
    length="{minutes} मिनट",
    summary="{partner} के साथ सत्र",
    agenda="विषय",
    calendar_note="सत्र का समय बदलने या उसे रद्द करने के लिए अपना कक्ष खोलें।",
    feed_name="मेंटरिंग सत्र",
    room="आपका कक्ष, हमेशा इसी पते पर: {url}",
    candidates="सुझाए गए समय:",
    stands="जब तक आप दोनों सहमत न हों, मौजूदा समय ही मान्य है:",
    reason="कारण: {reason}",
    footer="यह मेल आपको इसलिए मिला है क्योंकि {site} पर {partner} के साथ आपका साझा कक्ष है।",
    greeting="नमस्ते {name},",
    asked=Letter(
        "{partner} की ओर से सत्र का अनुरोध: {short}",
        "{partner} ने आपसे मिलने के लिए समय माँगा है। क्या यह समय आपके लिए ठीक है?",
        _ANSWER,
    ),
    asked_own=Letter(
        "{partner} को भेजा गया आपका अनुरोध: {short}",
        "आपका अनुरोध {partner} को भेज दिया गया है। उत्तर आने तक यह समय आप दोनों के लिए आरक्षित है।",
        _ROOM,
    ),
    moved=Letter(
        "{partner} ने सत्र का समय बदला है: {short}",
        "{partner} ने आपके सत्र का समय बदला है। नया समय यह है; आपका कक्ष वही रहेगा।",
        _ANSWER,
    ),
    moved_own=Letter(
        "आपने {partner} के साथ सत्र का समय बदला है: {short}",
        "आपने {partner} के साथ अपने सत्र का समय बदला है। नया समय यह है; आपका कक्ष वही रहेगा।",
        _ROOM,
    ),
    agreed=Letter(
        "{partner} के साथ सत्र का नया समय: {short}",
        "{partner} के साथ आपके सत्र का समय बदल गया है। आपका कक्ष वही रहेगा।",
        _ROOM,
    ),
    confirmed=Letter(
        "सत्र तय हुआ: {partner}, {short}",
        "{partner} के साथ आपका सत्र तय हो गया है।",
        _ROOM,
    ),
    cancelled=Letter(
        "सत्र रद्द: {partner}, {short}",
        "{partner} के साथ इस समय का सत्र रद्द कर दिया गया है। आपका कक्ष खुला है; वहाँ आप दूसरा समय चुन सकते हैं।",
        _AGAIN,
    ),
    withdrawn=Letter(
        "सत्र रद्द: {partner}, {short}",
        "{partner} के साथ इस समय का सत्र नहीं होगा: आपका कक्ष बंद कर दिया गया है।",
        _ROOM,
    ),
    declined=Letter(
        "{partner} के लिए यह समय ठीक नहीं है: {short}",
        "{partner} के लिए इस समय मिलना संभव नहीं है। आपका कक्ष खुला है; वहाँ आप दूसरा समय चुन सकते हैं।",
        _AGAIN,
    ),
    declined_own=Letter(
        "आपने {partner} के साथ सत्र अस्वीकार किया: {short}",
        "आपने {partner} के साथ यह सत्र अस्वीकार किया है। आपका कक्ष खुला है; वहाँ आप दूसरा समय चुन सकते हैं।",
        _AGAIN,
    ),
    expired=Letter(
        "समय पर उत्तर नहीं मिला: {partner} के साथ सत्र, {short}",
        "{partner} के साथ इस सत्र के अनुरोध का उत्तर समय पर नहीं मिला, इसलिए यह सत्र नहीं होगा।"
        " आपका कक्ष खुला है; वहाँ आप दूसरा समय चुन सकते हैं।",
        _AGAIN,
    ),
    proposed=Letter(
        "{partner} ने दूसरा समय सुझाया है",
        "{partner} ने आपके सत्र के लिए दूसरा समय सुझाया है।",
        _ANSWER,
    ),
    proposal_declined=Letter(
        "आपके सुझाए गए समय {partner} के लिए ठीक नहीं हैं",
        "आपके सुझाए गए समयों में से कोई भी {partner} के लिए ठीक नहीं है। सत्र अपने पहले वाले समय पर ही होगा:",
        _ROOM,
    ),
    proposal_expired=Letter(
        "{partner} के साथ सत्र अपने समय पर ही होगा: {short}",
        "सुझाए गए समयों का उत्तर समय पर नहीं मिला। सत्र अपने पहले वाले समय पर ही होगा:",
        _ROOM,
    ),
    knock=Letter(
        "कक्ष में आपका इंतज़ार हो रहा है: {partner}",
        "आपके कक्ष में {partner} की ओर से आपका इंतज़ार हो रहा है।",
        _ROOM,
    ),
    reminder_24h=Letter(
        "याद रखें: {partner} के साथ सत्र, {short}",
        "{partner} के साथ आपके अगले सत्र की याद दिलाने के लिए।",
        _ROOM,
    ),
    reminder_1h=Letter(
        "जल्द ही: {partner} के साथ सत्र, {short}",
        "{partner} के साथ आपका सत्र जल्द ही शुरू होगा।",
        _ROOM,
    ),
    reminder_10m=Letter(
        "अभी: {partner} के साथ सत्र, {short}",
        "{partner} के साथ आपका सत्र शुरू होने वाला है। कक्ष खुला है।",
        _ROOM,
    ),
    digest=Letter(
        "{partner} ने आपको संदेश भेजा है",
        "जब आप यहाँ नहीं थे, तब {partner} ने आपके कक्ष में संदेश भेजा है। उसे पढ़ लेने तक इस बारे में कोई और मेल नहीं आएगा।",
        _ROOM,
    ),
)  # fmt: skip
