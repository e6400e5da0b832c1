#!/usr/bin/env node
// Committed, unlike dist/: npm links it at install, before anything is built.
import '../dist/main.js';
