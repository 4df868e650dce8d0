"""What does a reader get of an analysis run: HTML, Markdown, JSON, or a summary in the terminal?"""

from src.app.report.render import ReportFormat, render_report, write_report

__all__ = ["ReportFormat", "render_report", "write_report"]
