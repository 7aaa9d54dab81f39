/** Globs as the filters of a mount: the exact text, or `*`, `?`, `[a-z]` and `[!a-z]`, and case counts. */

/** Return a function that says whether a text passes; an empty pattern lets all pass. */
function globMatcher(pattern) {
  if (pattern === "") return () => true;
  if (!/[*?[]/.test(pattern)) return (text) => text === pattern;
  const expression = new RegExp(`^(?:${globSource(pattern)})$`, "su");
  return (text) => text === pattern || expression.test(text);
}

function globSource(pattern) {
  const characters = Array.from(pattern);
  let source = "";
  for (let place = 0; place < characters.length; place++) {
    const character = characters[place];
    if (character === "*") {
      if (characters[place + 1] !== "*") source += ".*";
    } else if (character === "?") source += ".";
    else if (character === "[") {
      const end = endOfSet(characters, place);
      if (end < 0) source += "\\[";
      else {
        source += setSource(characters.slice(place + 1, end));
        place = end;
      }
    } else source += escaped(character);
  }
  return source;
}

/** Return where a set ends that begins at a place, -1 if it does not. A bracket at its begin belongs to it. */
function endOfSet(characters, start) {
  let place = start + 1;
  if (characters[place] === "!") place++;
  return characters.indexOf("]", place + 1);
}

function setSource(characters) {
  const isNegated = characters[0] === "!";
  const members = isNegated ? characters.slice(1) : characters;
  const parts = [];
  for (let place = 0; place < members.length; place++) {
    if (members[place + 1] === "-" && place + 2 < members.length) {
      const [low, high] = [members[place], members[place + 2]];
      place += 2;
      // A range that runs backwards holds nothing.
      if (low.codePointAt(0) <= high.codePointAt(0)) parts.push(`${escaped(low)}-${escaped(high)}`);
    } else parts.push(escaped(members[place]));
  }
  if (!parts.length) return isNegated ? "." : "(?!)";
  return `[${isNegated ? "^" : ""}${parts.join("")}]`;
}

function escaped(character) {
  return `\\u{${character.codePointAt(0).toString(16)}}`;
}
