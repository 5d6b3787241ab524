// Tables: a click on a header sorts, and long ones can be filtered by name.

const LONG = 8; // rows

export function enhanceTables(): void {
  for (const table of document.querySelectorAll<HTMLTableElement>("table[data-sortable]")) {
    [...table.tHead!.rows[0]!.cells].forEach((header, column) => makeSortable(table, header, column));
    if (table.tBodies[0]!.rows.length >= LONG) addFilter(table);
  }
}

function makeSortable(table: HTMLTableElement, header: HTMLTableCellElement, column: number): void {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  header.append(button);
  button.addEventListener("click", () => {
    const isDown = header.getAttribute("aria-sort") !== "descending";
    for (const other of header.parentElement!.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    sort(table.tBodies[0]!, column, isDown ? -1 : 1);
  });
}

function sort(body: HTMLTableSectionElement, column: number, sign: number): void {
  const key = (row: HTMLTableRowElement): string | number => {
    const cell = row.cells[column];
    const value = cell?.dataset["value"];
    return value === undefined ? (cell?.textContent ?? "") : Number(value);
  };
  const compare = (a: string | number, b: string | number): number =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  const rows = [...body.rows].map((row) => ({ row, key: key(row) }));
  rows.sort((a, b) => sign * compare(a.key, b.key));
  body.append(...rows.map(({ row }) => row));
}

function addFilter(table: HTMLTableElement): void {
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter by name";
  input.setAttribute("aria-label", `Filter ${table.getAttribute("aria-label") ?? "the table"} by name`);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0]!.rows) {
      row.hidden = !(row.cells[0]?.textContent ?? "").toLowerCase().includes(wanted);
    }
  });
  table.parentElement!.before(input);
}
