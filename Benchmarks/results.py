"""The results of a benchmark, as lines of words separated by tabs, from which Benchmarks/plot draws:

title    TEXT
ran      TEXT                                 what it ran on; any number of lines
chart    CHART TITLE UNIT lower|higher        a chart, and which figures are the better ones
samples  CHART GROUP SERIES NUMBER...         one bar: the median of the numbers
"""
import statistics


def median(numbers):
    """The middle of the numbers."""
    return statistics.median(numbers)


class Results:
    """Gathers the results of one benchmark."""

    def __init__(self, title):
        self.lines = [("title", title)]

    def ran(self, text):
        """Says what the figures were taken on."""
        self.lines.append(("ran", text))

    def chart(self, chart, title, unit, better):
        """Begins a chart; `better` is lower or higher."""
        self.lines.append(("chart", chart, title, unit, better))

    def samples(self, chart, group, series, numbers):
        """Adds what was measured for one bar."""
        self.lines.append(("samples", chart, group, series, *(f"{number:.6g}" for number in numbers)))

    def write(self, path):
        """Writes all of it."""
        with open(path, "w", encoding="utf-8") as file:
            for line in self.lines:
                file.write("\t".join(line) + "\n")
