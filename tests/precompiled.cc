// Carries the precompiled headers of the tests (TERN_JOINED).
