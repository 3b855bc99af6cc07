/** What a page does with a view, and how many milliseconds it takes: the engine shows less often to a page that takes long. */
export const timed =
  <T>(show: (what: T) => void): ((what: T) => Promise<number>) =>
  async (what) => {
    const begun = performance.now();
    show(what);
    // Components draw in microtasks.
    await new Promise((resolve) => setTimeout(resolve));
    return performance.now() - begun;
  };
