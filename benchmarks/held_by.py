"""What holds the rows that miss their goal, by name: a sentence with the profile that shows it."""

HELD_BY: dict[str, str] = {}
