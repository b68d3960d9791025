"""The language of a file by its suffix, so that a search can ask for one."""

_SUFFIXES = {
    "python": ".py .pyi",
    "notebook": ".ipynb",
    "javascript": ".js .mjs .cjs .jsx",
    "typescript": ".ts .mts .cts .tsx",
    "java": ".java",
    "kotlin": ".kt .kts",
    "scala": ".scala",
    "c": ".c .h",
    "c++": ".cc .cpp .cxx .hh .hpp .hxx",
    "c#": ".cs",
    "go": ".go",
    "rust": ".rs",
    "ruby": ".rb",
    "php": ".php",
    "swift": ".swift",
    "objective-c": ".m",
    "lua": ".lua",
    "perl": ".pl",
    "r": ".r",
    "julia": ".jl",
    "shell": ".sh .bash .zsh .fish",
    "powershell": ".ps1",
    "sql": ".sql",
    "haskell": ".hs",
    "ocaml": ".ml",
    "elixir": ".ex .exs",
    "erlang": ".erl",
    "clojure": ".clj",
    "dart": ".dart",
    "zig": ".zig",
    "vue": ".vue",
    "css": ".css .scss",
    "make": ".mk",
    "cmake": ".cmake",
    "gradle": ".gradle",
    "protobuf": ".proto",
    "terraform": ".tf",
    "markdown": ".md .markdown .mdx",
    "html": ".html .htm .xhtml",
    "pdf": ".pdf",
    "document": ".docx .docm .odt .rtf",
    "slides": ".pptx .pptm .odp",
    "table": ".xlsx .xlsm .ods .csv .tsv .tab",
    "book": ".epub",
    "mail": ".eml .mbox .msg",
    "subtitles": ".srt .vtt",
}
_LANGUAGE = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
OTHER = "text"  # whatever is read as plain text
PICTURE = "picture"  # of the words that were read in one
LANGUAGES = (*_SUFFIXES, OTHER, PICTURE)


def language(suffix: str) -> str:
    """The name in LANGUAGES for a suffix such as ".py"; pictures are to be asked for by modality."""
    return _LANGUAGE.get(suffix.lower(), OTHER)
