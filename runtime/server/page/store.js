// What is kept between visits. A browser may forbid storage, and a tab's share may be full: the page then goes on without.
function open(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}

function keeper(storage, name) {
  let own = null; // what storage would not take
  return {
    get() {
      try {
        return own ?? storage.getItem(name);
      } catch {
        return own;
      }
    },
    set(text) {
      own = null;
      try {
        if (text === null) storage.removeItem(name);
        else storage.setItem(name, text);
      } catch {
        own = text;
      }
    },
  };
}

// Until the tab is closed.
export const forTab = name => keeper(open("sessionStorage"), `gptoss-tp.${name}`);
// For good.
export const forBrowser = name => keeper(open("localStorage"), `gptoss-tp.${name}`);

export function readJson(kept, otherwise) {
  try {
    return JSON.parse(kept.get()) ?? otherwise;
  } catch {
    return otherwise;
  }
}
