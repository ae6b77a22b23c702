"""What the old platform's packages need besides themselves, in versions that every Python from 3.8 on can have."""

PINS = (
    "requests==2.31.0",
    "certifi==2024.8.30",
    "urllib3==2.0.7",
    "idna==3.7",
    "charset-normalizer==3.3.2",
)
