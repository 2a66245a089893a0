// Buttons with data-copies="id" copy the text of that element.
"use strict";

for (const button of document.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", async () => {
        const source = document.getElementById(button.dataset.copies);
        const label = button.textContent;
        try {
            // Absent on pages that came over plain http from another machine.
            await navigator.clipboard.writeText(source.textContent);
            button.textContent = "Copied";
        } catch {
            const range = document.createRange();
            range.selectNodeContents(source);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
            button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
        }
        setTimeout(() => { button.textContent = label; }, 3000);
    });
}
