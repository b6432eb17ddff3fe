"use strict";
// Shows one question at a time, keeps answers in the browser, and hands them over as a file.
const quiz = JSON.parse(document.getElementById("quiz").textContent);
const sections = [...document.querySelectorAll("section[data-step]")];
const place = "mia_jax " + quiz.observer;
let answers = [];
try {
  answers = JSON.parse(localStorage.getItem(place)) || [];
} catch {
  // Without storage the answers last as long as the page does.
}

for (const image of document.querySelectorAll("img[data-photograph]")) {
  image.src = quiz.photographs[image.dataset.photograph];
}

function show() {
  sections.forEach((section, step) => { section.hidden = step !== answers.length; });
  const done = answers.length === sections.length;
  document.getElementById("end").hidden = !done;
  window.scrollTo(0, 0);
  const first = document.querySelector("section:not([hidden]) [autofocus], #end:not([hidden]) button");
  if (first) first.focus();
  if (done) download();
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(answers));
  } catch {
    // As above.
  }
}

function download() {
  const sheet = { schema: 1, plan: quiz.plan, observer: quiz.observer, answers };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(sheet, null, 1)], { type: "application/json" }));
  link.download = "answers.json";
  link.click();
}

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const answer = new FormData(form).get("answer");
    if (Number(form.dataset.step) === answers.length && answer !== null) {
      answers.push(answer);
      keep();
      show();
    }
  });
}
document.getElementById("save").addEventListener("click", download);
document.getElementById("forget").addEventListener("click", () => {
  answers = [];
  keep();
  show();
});
show();
