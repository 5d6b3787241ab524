// What the report does once it is open: it draws charts, and lets tables be sorted and filtered. All numbers and names
// are in the page without it.

import "uplot/dist/uPlot.min.css";
import "./style.css";

import { showCharts } from "./charts";
import { read } from "./data";
import { enhanceTables } from "./tables";
import { chooseTheme } from "./theme";

chooseTheme();
enhanceTables();
void read().then(showCharts);
