// Shows in words when the crontab that is selected in the form of a periodic task is due.
"use strict";

{
  const inWords = JSON.parse(document.querySelector("#readable-crontabs").textContent);
  const select = document.querySelector("#id_crontab");
  const help = document.querySelector(".field-crontab .help");
  const saved = document.querySelector(".field-crontab_translation");
  if (select && help) {
    const words = help.appendChild(document.createElement("div"));
    select.addEventListener("change", () => { words.textContent = inWords[select.value] || ""; });
    if (saved) saved.hidden = true;
    select.dispatchEvent(new Event("change"));
  }
}
