/**
 * The first JSON value of `text`, whatever follows it. The book's server reads one value off the request's stream and never looks
 * at the rest, so a body with trailing bytes must be taken. Throws SyntaxError as `JSON.parse` does; undefined when there is
 * nothing but blanks.
 */
export function parseFirstJsonValue(text: string): unknown {
  const start = skipBlanks(text);
  if (start === text.length) return undefined;
  const end = text[start] === "{" || text[start] === "[" ? findEnd(text, start) : text.length;
  return JSON.parse(text.slice(start, end));
}

/**
 * Where the object or array that begins at `start` ends. Only brackets outside of strings count; whether what lies between is
 * right, JSON.parse says.
 */
function findEnd(text: string, start: number): number {
  let depth = 0;
  let isInString = false;
  for (let at = start; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (isInString) {
      if (char === backslash) at += 1;
      else if (char === quote) isInString = false;
    } else if (char === quote) isInString = true;
    else if (char === openBrace || char === openBracket) depth += 1;
    else if (char === closeBrace || char === closeBracket) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

function skipBlanks(text: string): number {
  let at = 0;
  while (at < text.length && " \t\r\n".includes(text.charAt(at))) at += 1;
  return at;
}

const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
