"""The chaos suite: much goes wrong at once; then the promises are held against what can be seen from outside."""
